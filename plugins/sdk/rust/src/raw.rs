//! The imports as the ABI "blitz/1" spells them, and the memory that arguments come in.

use alloc::alloc::{alloc, dealloc, Layout};

#[link(wasm_import_module = "blitz")]
extern "C" {
    pub fn log(level: *const u8, level_len: usize, message: *const u8, len: usize);
    pub fn get_env(name: *const u8, len: usize, buf: *mut u8, cap: usize) -> i32;
    pub fn get_header(name: *const u8, len: usize, buf: *mut u8, cap: usize) -> i32;
    pub fn set_header(name: *const u8, len: usize, value: *const u8, value_len: usize);
    pub fn add_header(name: *const u8, len: usize, value: *const u8, value_len: usize);
    pub fn remove_header(name: *const u8, len: usize);
    pub fn get_body(buf: *mut u8, cap: usize) -> i32;
    pub fn set_body(body: *const u8, len: usize);
    pub fn set_chunk(chunk: *const u8, len: usize);
    pub fn skip_body();
    pub fn set_status(status: i32);
    pub fn set_path(path: *const u8, len: usize);
    pub fn set_method(method: *const u8, len: usize);
    pub fn get_property(name: *const u8, len: usize, buf: *mut u8, cap: usize) -> i32;
    pub fn get_config(buf: *mut u8, cap: usize) -> i32;
    pub fn now_ms() -> i64;
    pub fn random(buf: *mut u8, len: usize);
    pub fn rate_limit(key: *const u8, len: usize, per_minute: u32, burst: u32) -> i32;
    pub fn count(name: *const u8, len: usize, delta: i64);
    pub fn gauge(name: *const u8, len: usize, value: f64);
    pub fn observe(name: *const u8, len: usize, value: f64);
    pub fn kv_incr(key: *const u8, len: usize, delta: i64, ttl_ms: i64) -> i64;
    pub fn kv_get(key: *const u8, len: usize, buf: *mut u8, cap: usize) -> i32;
    pub fn kv_set(key: *const u8, len: usize, value: *const u8, value_len: usize, ttl_ms: i64);
    pub fn sleep_ms(ms: u32);
    pub fn http_fetch(
        upstream: *const u8,
        upstream_len: usize,
        method: *const u8,
        method_len: usize,
        target: *const u8,
        target_len: usize,
        headers: *const u8,
        headers_len: usize,
        body: *const u8,
        body_len: usize,
        timeout_ms: u32,
    ) -> i32;
    pub fn fetch_header(name: *const u8, len: usize, buf: *mut u8, cap: usize) -> i32;
    pub fn fetch_body(buf: *mut u8, cap: usize) -> i32;
}

/// Room for a method and a 64 KiB path: the host writes arguments here without calling the guest.
const BUFFER_SIZE: usize = 64 * 1024 + 256;
static mut BUFFER: [u8; BUFFER_SIZE] = [0; BUFFER_SIZE];

#[no_mangle]
pub extern "C" fn blitz_buffer() -> *mut u8 {
    // Only its address is taken. The host writes while no code of ours runs.
    unsafe { core::ptr::addr_of_mut!(BUFFER).cast() }
}

#[no_mangle]
pub extern "C" fn blitz_buffer_size() -> usize {
    BUFFER_SIZE
}

/// For arguments that the buffer cannot hold. NULL when there is no memory.
#[no_mangle]
pub extern "C" fn blitz_alloc(len: usize) -> *mut u8 {
    match Layout::from_size_align(len.max(1), 8) {
        Ok(layout) => unsafe { alloc(layout) },
        Err(_) => core::ptr::null_mut(),
    }
}

/// # Safety
/// `ptr` is from `blitz_alloc(len)` and not used again.
#[no_mangle]
pub unsafe extern "C" fn blitz_free(ptr: *mut u8, len: usize) {
    if let Ok(layout) = Layout::from_size_align(len.max(1), 8) {
        dealloc(ptr, layout);
    }
}
