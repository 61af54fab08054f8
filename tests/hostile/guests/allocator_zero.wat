;; its allocator returns 0
;; expect: trap returned 0 for
(module
  (memory (export "memory") 1)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "malloc") (param i32) (result i32) (i32.const 0))
  (func (export "free") (param i32)))
