;; logs and sets bytes that are no UTF-8
;; expect: logs �
(module
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (import "env" "set_header" (func $set_header (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x")
  (data (i32.const 8) "\ff")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 1))
    (call $set_header (i32.const 0) (i32.const 1) (i32.const 8) (i32.const 1))
    (i32.const 0)))
