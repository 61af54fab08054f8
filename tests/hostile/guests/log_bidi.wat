;; logs what a terminal shows in another order, and with characters that it does not show
;; expect: logs a\u202eb\u2066c\u200bd\ufeffe\u2028f\u061cg\U000e0041h
(module
  (import "env" "log" (func $log (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "info")
  (data (i32.const 8) "a\e2\80\aeb\e2\81\a6c\e2\80\8bd\ef\bb\bfe\e2\80\a8f\d8\9cg\f3\a0\81\81h")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (call $log (i32.const 0) (i32.const 4) (i32.const 8) (i32.const 29))
    (i32.const 0)))
