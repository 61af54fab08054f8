;; writes a name that others read as the framing
;; expect: trap others may read the name
(module
  (import "env" "add_header" (func $add_header (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "Content_Length")
  (data (i32.const 32) "0")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $add_header (i32.const 0) (i32.const 14) (i32.const 32) (i32.const 1))
    (i32.const 0)))
