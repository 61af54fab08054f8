use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    fn log(level: &str, message: &str);
    fn set_header(name: &str, value: &str);
}

#[wasm_bindgen]
pub fn init() -> i32 {
    log("info", "Request logging plugin initialized");
    0
}

#[wasm_bindgen]
pub fn process_request(method: &str, path: &str) -> i32 {
    let msg = format!("Request: {} {}", method, path);
    log("info", &msg);
    0
}

#[wasm_bindgen]
pub fn process_response(status: i32, _body: &str) -> i32 {
    if status >= 400 {
        set_header("X-Error-Logged", "true");
    }
    0
}

#[wasm_bindgen]
pub fn cleanup() -> i32 {
    log("info", "Request logging plugin cleaned up");
    0
}
