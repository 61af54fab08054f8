;; traps when it gets its memory back
;; expect: trap unreachable
(module
  (memory (export "memory") 1)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "malloc") (param i32) (result i32) (i32.const 8))
  (func (export "free") (param i32) (unreachable)))
