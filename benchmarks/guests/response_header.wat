;; The job of shapes.py's response header: set x-seen-1 on every response, without asking for its body.
(module
  (import "blitz" "set_header" (func $set_header (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-seen-1")
  (data (i32.const 16) "0123456789abcdef")
  (func (export "blitz_buffer") (result i32) (i32.const 4096))
  (func (export "blitz_buffer_size") (result i32) (i32.const 16384))
  (func (export "process_response") (param i32 i32 i32) (result i32)
    (call $set_header (i32.const 0) (i32.const 8) (i32.const 16) (i32.const 16))
    (i32.const 0)))
