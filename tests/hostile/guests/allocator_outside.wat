;; its allocator returns an address behind the memory
;; expect: trap outside the memory
(module
  (memory (export "memory") 1)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func (export "malloc") (param i32) (result i32) (i32.const 65536))
  (func (export "free") (param i32)))
