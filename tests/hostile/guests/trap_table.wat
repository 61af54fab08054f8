;; calls behind its table
;; expect: trap table access out of bounds
(module
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (table 1 funcref)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call_indirect (i32.const 1))
    (i32.const 0)))
