;; The job of one_header.wat in the http-wasm handler ABI, for Traefik.
(module
  (import "http_handler" "get_header_values" (func $get (param i32 i32 i32 i32 i32) (result i64)))
  (import "http_handler" "set_header_value" (func $set (param i32 i32 i32 i32 i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "x-user")
  (data (i32.const 16) "x-seen-@n@")
  ;; get_header_values: how many values in the high half, their bytes with a NUL after each in the low
  (func (export "handle_request") (result i64)
    (local $found i64)
    (local.set $found
      (call $get (i32.const 0) (i32.const 0) (i32.const 6) (i32.const 1024) (i32.const 1024)))
    (if (i64.eq (i64.shr_u (local.get $found) (i64.const 32)) (i64.const 1))
      (then (call $set (i32.const 0) (i32.const 16) (i32.const 8) (i32.const 1024)
        (i32.sub (i32.wrap_i64 (local.get $found)) (i32.const 1)))))
    (i64.const 1))
  (func (export "handle_response") (param i32 i32)))
