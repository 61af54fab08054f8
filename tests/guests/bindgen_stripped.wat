;; A build with strip = true: exn_store, malloc, realloc, free under numbers.
(module
  (import "wbg" "__wbg_setheader_0123456789abcdef" (func $set_header (param i32 i32 i32 i32)))
  (memory (export "memory") 2)
  (data (i32.const 0) "x-path")
  (func (export "__wbindgen_export_0") (param i32) (unreachable))
  (func (export "__wbindgen_export_1") (param $n i32) (param i32) (result i32) (i32.const 4096))
  (func (export "__wbindgen_export_2") (param i32 i32 i32 i32) (result i32) (unreachable))
  (func (export "__wbindgen_export_3") (param i32 i32 i32) (unreachable))
  (func (export "process_request") (param i32 i32) (param $path i32) (param $n i32) (result i32)
    (call $set_header (i32.const 0) (i32.const 6) (local.get $path) (local.get $n))
    (i32.const 0)))
