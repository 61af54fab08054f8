;; logs what looks like two lines, the second of another plugin
;; expect: logs a\r\n[WASM Plugin] other: b\x1b[2J
(module
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "info")
  (data (i32.const 8) "a\0d\0a[WASM Plugin] other: b\1b[2J")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 4) (i32.const 8) (i32.const 29))
    (i32.const 0)))
