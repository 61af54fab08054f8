;; loops for ever in its start section
;; expect: start-timeout start
(module
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func $start (loop $again (br $again)))
  (start $start))
