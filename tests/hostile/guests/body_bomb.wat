;; sets a body of a megabyte again and again
;; expect: passes
(module
  (import "env" "set_body" (func $set_body (param i32 i32)))
  (memory (export "memory") 16)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (local $n i32)
    (loop $again
      (call $set_body (i32.const 0) (i32.const 1000000))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 50))))
    (i32.const 0)))
