;; The bad neighbour of isolation.py in the http-wasm handler ABI, for Traefik.
(module
  (memory (export "memory") 1)
  (func (export "handle_request") (result i64)
    (loop $for_ever (br $for_ever))
    (i64.const 1))
  (func (export "handle_response") (param i32 i32)))
