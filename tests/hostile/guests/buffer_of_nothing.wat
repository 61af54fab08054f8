;; its fixed area has no room, and there is no allocator
;; expect: trap exports none
(module
  (memory (export "memory") 1)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "blitz_buffer") (result i32) (i32.const 0))
  (func (export "blitz_buffer_size") (result i32) (i32.const 0)))
