;; A build with reference types: __wbindgen_start is the re-exported import that fills the table of
;; externrefs; the hook checks that four slots were added. An import that is not served is linked, not called.
(module
  (import "__wbindgen_placeholder__" "__wbindgen_init_externref_table" (func $init_table))
  (import "__wbindgen_placeholder__" "__wbg_log_0123456789abcdef" (func $console_log (param externref)))
  (import "__wbindgen_placeholder__" "__wbg_random_0123456789abcdef" (func $math_random (result f64)))
  (memory (export "memory") 2)
  (table $refs (export "__wbindgen_externrefs") 128 externref)
  (table (export "__indirect_function_table") 1 funcref)
  (export "__wbindgen_start" (func $init_table))
  (func (export "__wbindgen_malloc") (param i32 i32) (result i32) (i32.const 4096))
  (func (export "process_request") (param i32 i32) (param $path i32) (param $n i32) (result i32)
    (if (i32.eq (local.get $n) (i32.const 2)) (then (drop (call $math_random))))
    (i32.ne (table.size $refs) (i32.const 132))))
