;; calls itself for ever
;; expect: trap the stack overflowed
(module
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func $down (call $down))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $down)
    (i32.const 0)))
