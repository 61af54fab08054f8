;; its allocator calls a host function that needs the allocator
;; expect: trap which is the caller
(module
  (import "wbg" "__wbg_getheader_0123456789abcdef" (func $get_header (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "host")
  (global $armed (mut i32) (i32.const 0))
  (func (export "__wbindgen_malloc") (param i32) (result i32)
    (if (global.get $armed) (then (call $get_header (i32.const 8) (i32.const 0) (i32.const 4))))
    (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (global.set $armed (i32.const 1))
    (call $get_header (i32.const 8) (i32.const 0) (i32.const 4))
    (i32.const 0)))
