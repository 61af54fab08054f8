;; The job of parts.py: every part of a response passes as it is.
(module
  (import "blitz" "set_chunk" (func $set_chunk (param i32 i32)))
  (memory (export "memory") 3)
  (func (export "blitz_buffer") (result i32) (i32.const 65536))
  (func (export "blitz_buffer_size") (result i32) (i32.const 65536))
  (func (export "process_response_chunk") (param i32 i32 i32) (result i32) (i32.const 0)))
