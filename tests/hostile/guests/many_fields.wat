;; adds more fields than a head holds
;; expect: trap no room for more fields
(module
  (import "env" "add_header" (func $add_header (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x")
  (func (export "blitz_buffer") (result i32) (i32.const 1024))
  (func (export "blitz_buffer_size") (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (local $n i32)
    (loop $again
      (call $add_header (i32.const 0) (i32.const 1) (i32.const 0) (i32.const 1))
      (local.set $n (i32.add (local.get $n) (i32.const 1)))
      (br_if $again (i32.lt_u (local.get $n) (i32.const 300))))
    (i32.const 0)))
