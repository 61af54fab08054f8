;; The bad neighbour of isolation.py: its request hook never returns.
(module
  (import "blitz" "get_header" (func (param i32 i32 i32 i32) (result i32)))
  (import "blitz" "set_header" (func (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (func (export "blitz_buffer") (result i32) (i32.const 4096))
  (func (export "blitz_buffer_size") (result i32) (i32.const 16384))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (loop $for_ever (br $for_ever))
    (i32.const 0)))
