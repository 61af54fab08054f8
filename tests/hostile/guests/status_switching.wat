;; answers 101 to take over the connection
;; expect: trap is not within 200 to 599
(module
  (import "env" "set_status" (func $set_status (param i32)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $set_status (i32.const 101))
    (i32.const 0)))
