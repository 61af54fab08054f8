;; has a memory larger than the limit from the start
;; expect: refused bytes of memory from the start, limit
(module
  (memory (export "memory") 1000)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
