;; calls the host for ever
;; expect: timeout process_request
(module
  (import "env" "get_header" (func $get_header (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "host")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (loop $again (drop (call $get_header (i32.const 0) (i32.const 4) (i32.const 64) (i32.const 64))) (br $again))
    (i32.const 0)))
