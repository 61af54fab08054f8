;; wants a bucket of the rate limiter with the longest of keys
;; expect: trap the key is longer than 256 bytes
(module
  (import "env" "rate_limit" (func $rate_limit (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (drop (call $rate_limit (i32.const 0) (i32.const 60000) (i32.const 1) (i32.const 1)))
    (i32.const 0)))
