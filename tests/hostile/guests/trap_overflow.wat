;; divides the smallest integer by -1
;; expect: trap integer overflow
(module
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (drop (i64.div_s (i64.const 0x8000000000000000) (i64.const -1)))
    (i32.const 0)))
