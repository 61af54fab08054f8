;; Traps three functions deep.
(module
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func $inner_most (result i32) (unreachable))
  (func $middle (result i32) (call $inner_most))
  (func $process (export "process_request") (param i32 i32 i32 i32) (result i32) (call $middle)))
