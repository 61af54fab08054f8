;; writes the framing of the message
;; expect: trap framing and connection-level fields
(module
  (import "env" "set_header" (func $set_header (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "Transfer-Encoding")
  (data (i32.const 32) "chunked")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $set_header (i32.const 0) (i32.const 17) (i32.const 32) (i32.const 7))
    (i32.const 0)))
