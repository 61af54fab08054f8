;; a start section asks for strings that need the allocator of an instance that is not complete
;; expect: passes
(module
  (import "wbg" "__wbg_getproperty_0123456789abcdef" (func $get_property (param i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 16) "plugin.name")
  (func (export "__wbindgen_malloc") (param i32 i32) (result i32) (i32.const 1024))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32) (i32.const 0))
  (func $start
    (call $get_property (i32.const 0) (i32.const 16) (i32.const 11))
    (if (i32.ne (i32.load (i32.const 0)) (i32.const 1024)) (then unreachable))
    (if (i32.eqz (i32.load (i32.const 4))) (then unreachable))
    (if (i32.eqz (i32.load8_u (i32.const 1024))) (then unreachable)))
  (start $start))
