;; has a shared memory
;; expect: refused shared memories
(module
  (memory (export "memory") 1 1 shared)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0)))
