;; writes shared values under 20,000 keys, five times what the host keeps
;; expect: passes
(module
  (import "env" "kv_set" (func $set (param i32 i32 i32 i32 i64)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (local $i i32)
    (loop $more
      (i32.store (i32.const 0) (local.get $i))
      (call $set (i32.const 0) (i32.const 256) (i32.const 8192) (i32.const 256) (i64.const 0))
      (local.set $i (i32.add (local.get $i) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $i) (i32.const 20000))))
    (i32.const 0)))
