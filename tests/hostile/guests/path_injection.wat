;; writes a second request into the path
;; expect: trap is not an origin-form target
(module
  (import "env" "set_path" (func $set_path (param i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "/ HTTP/1.1\0d\0a\0d\0aGET /x")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $set_path (i32.const 0) (i32.const 24))
    (i32.const 0)))
