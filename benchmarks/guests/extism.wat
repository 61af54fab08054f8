;; The job of one_header.wat in Extism's calling convention: strings are blocks of the runtime's
;; memory, handed over by their offset; the value that get_header returns goes to set_header as it is.
(module
  (import "extism:host/env" "alloc" (func $alloc (param i64) (result i64)))
  (import "extism:host/env" "free" (func $free (param i64)))
  (import "extism:host/env" "store_u8" (func $store_u8 (param i64 i32)))
  (import "extism:host/env" "store_u64" (func $store_u64 (param i64 i64)))
  (import "extism:host/user" "get_header" (func $get_header (param i64) (result i64)))
  (import "extism:host/user" "set_header" (func $set_header (param i64 i64)))
  (memory (export "memory") 1)
  (func $byte (param $block i64) (param $at i64) (param $value i32)
    (call $store_u8 (i64.add (local.get $block) (local.get $at)) (local.get $value)))
  (func (export "process_request") (result i32)
    (local $name i64) (local $seen i64) (local $value i64)
    (local.set $name (call $alloc (i64.const 6)))
    (call $byte (local.get $name) (i64.const 0) (i32.const 120)) ;; x
    (call $byte (local.get $name) (i64.const 1) (i32.const 45))  ;; -
    (call $byte (local.get $name) (i64.const 2) (i32.const 117)) ;; u
    (call $byte (local.get $name) (i64.const 3) (i32.const 115)) ;; s
    (call $byte (local.get $name) (i64.const 4) (i32.const 101)) ;; e
    (call $byte (local.get $name) (i64.const 5) (i32.const 114)) ;; r
    (local.set $value (call $get_header (local.get $name)))
    (local.set $seen (call $alloc (i64.const 8)))
    (call $store_u64 (local.get $seen) (i64.const 0x312d6e6565732d78)) ;; "x-seen-1", little-endian
    (call $set_header (local.get $seen) (local.get $value))
    (call $free (local.get $name))
    (call $free (local.get $seen))
    (call $free (local.get $value))
    (i32.const 0)))
