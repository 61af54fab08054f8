;; its fixed area wraps around the address space
;; expect: start-trap outside the memory
(module
  (memory (export "memory") 1)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "blitz_buffer") (result i32) (i32.const -16))
  (func (export "blitz_buffer_size") (result i32) (i32.const 64)))
