;; grows its table until refused, and then goes on
;; expect: passes
(module
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (table $t 1 funcref)
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (block $full (loop $more (br_if $full (i32.eq (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1))) (br $more)))
    (i32.const 0)))
