;; passes a bad pointer before anything is set up
;; expect: start-trap log: message (pointer 65535
(module
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "info")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func $start (call $log (i32.const 0) (i32.const 4) (i32.const 65535) (i32.const 2)))
  (start $start))
