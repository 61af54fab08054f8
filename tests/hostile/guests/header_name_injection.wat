;; writes a line break into the name of a header
;; expect: trap is not a token
(module
  (import "env" "set_header" (func $set_header (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x: y\0d\0az: ")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $set_header (i32.const 0) (i32.const 9) (i32.const 0) (i32.const 1))
    (i32.const 0)))
