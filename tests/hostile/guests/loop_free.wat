;; loops for ever when it gets its memory back
;; expect: timeout process_request
(module
  (memory (export "memory") 1)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "malloc") (param i32) (result i32) (i32.const 8))
  (func (export "free") (param i32) (loop $again (br $again))))
