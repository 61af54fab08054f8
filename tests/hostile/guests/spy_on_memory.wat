;; looks for what earlier exchanges left in the fixed area, behind its own arguments
;; expect: passes
(module
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (local $at i32)
    (local.set $at (i32.add (local.get 2) (local.get 3)))
    (loop $more
      (if (i32.load8_u (local.get $at)) (then (unreachable)))
      (local.set $at (i32.add (local.get $at) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $at) (i32.const 65536))))
    (i32.const 0)))
