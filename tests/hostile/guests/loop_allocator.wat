;; loops for ever in the allocator that arguments need
;; expect: timeout process_request
(module
  (memory (export "memory") 1)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "malloc") (param i32) (result i32) (loop $again (br $again)) (i32.const 8))
  (func (export "free") (param i32)))
