;; passes a pointer and a length that wrap around
;; expect: trap log: message (pointer 4294967295, 2 bytes)
(module
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 0) (i32.const -1) (i32.const 2))
    (i32.const 0)))
