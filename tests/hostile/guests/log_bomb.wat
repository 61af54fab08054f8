;; logs without end
;; expect: timeout process_request
(module
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "info")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (loop $again (call $log (i32.const 0) (i32.const 4) (i32.const 0) (i32.const 60000)) (br $again))
    (i32.const 0)))
