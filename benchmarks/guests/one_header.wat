;; The job of plugin.py, chain3.py and hook.py for hosts of the plain Blitz spelling: read the request
;; header x-user, set x-seen-N to its value, continue. @n@ is 1, 2 or 3: three copies make a chain.
(module
  (import "blitz" "get_header" (func $get_header (param i32 i32 i32 i32) (result i32)))
  (import "blitz" "set_header" (func $set_header (param i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-user")
  (data (i32.const 16) "x-seen-@n@")
  ;; value: 1024..2047; the host writes method and path at 4096..20479
  (func (export "blitz_buffer") (result i32) (i32.const 4096))
  (func (export "blitz_buffer_size") (result i32) (i32.const 16384))
  (func (export "process_request") (param i32 i32 i32 i32) (result i32)
    (local $length i32)
    (local.set $length
      (call $get_header (i32.const 0) (i32.const 6) (i32.const 1024) (i32.const 1024)))
    ;; -1, not there, is a large unsigned number; so is a value that does not fit
    (if (i32.le_u (local.get $length) (i32.const 1024))
      (then (call $set_header (i32.const 16) (i32.const 8) (i32.const 1024) (local.get $length))))
    (i32.const 0)))
