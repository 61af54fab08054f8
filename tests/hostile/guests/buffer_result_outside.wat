;; wants a result behind its memory
;; expect: trap get_header: buf (pointer 65535
(module
  (import "env" "get_header" (func $get_header (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "host")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (drop (call $get_header (i32.const 0) (i32.const 4) (i32.const 65535) (i32.const 64)))
    (i32.const 0)))
