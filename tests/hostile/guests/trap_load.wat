;; reads behind its memory
;; expect: trap memory access out of bounds
(module
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (drop (i32.load (i32.const 65533)))
    (i32.const 0)))
