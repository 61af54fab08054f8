;; The plugin of workers.py: some 400 microseconds of work on every request, and nothing else.
(module
  (import "blitz" "get_header" (func (param i32 i32 i32 i32) (result i32)))
  (import "blitz" "set_header" (func (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 4096))
  (func (export "blitz_buffer_size") (result i32) (i32.const 16384))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (local $state i64) (local $left i32)
    (local.set $state (i64.const 88172645463325252))
    (local.set $left (i32.const 250000))
    (loop $more                                ;; xorshift64: each turn needs the one before
      (local.set $state (i64.xor (local.get $state) (i64.shl (local.get $state) (i64.const 13))))
      (local.set $state (i64.xor (local.get $state) (i64.shr_u (local.get $state) (i64.const 7))))
      (local.set $state (i64.xor (local.get $state) (i64.shl (local.get $state) (i64.const 17))))
      (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
    (i32.store (i32.const 0) (i32.wrap_i64 (local.get $state)))
    (i32.const 0)))
