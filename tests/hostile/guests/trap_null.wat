;; calls a null entry of its table
;; expect: trap indirect call to a null table entry
(module
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (table 1 funcref)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call_indirect (i32.const 0))
    (i32.const 0)))
