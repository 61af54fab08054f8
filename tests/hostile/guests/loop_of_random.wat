;; asks for random bytes for ever
;; expect: timeout process_request
(module
  (import "env" "random" (func $random (param i32 i32)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (loop $again (call $random (i32.const 8192) (i32.const 32768)) (br $again))
    (i32.const 0)))
