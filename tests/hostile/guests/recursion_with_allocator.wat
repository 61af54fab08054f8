;; uses up its stack, then the allocator uses up its own
;; expect: trap the stack overflowed
(module
  (import "wbg" "__wbg_getheader_0123456789abcdef" (func $get_header (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "host")
  (global $deep (mut i32) (i32.const 0))
  (func $for_ever (call $for_ever))
  (func (export "__wbindgen_malloc") (param i32) (result i32)
    (if (global.get $deep) (then (call $for_ever)))
    (i32.const 4096))
  (func $down (param $n i32)
    (if (i32.eqz (local.get $n))
      (then (global.set $deep (i32.const 1)) (call $get_header (i32.const 64) (i32.const 0) (i32.const 4)))
      (else (call $down (i32.sub (local.get $n) (i32.const 1))))))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (call $down (i32.const 15000)) (i32.const 0)))
