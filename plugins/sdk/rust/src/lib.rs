//! Write plugins for the Blitz gateway in Rust, without wasm-bindgen.
//!
//! A plugin is a type that implements [`Plugin`], and one line, [`export!`], that makes it the module's.
//! The gateway calls its hooks; they read the message in hand and note edits through the functions of
//! this crate, and return a [`Verdict`]. Nothing changes before a hook returns.
//!
//! ```ignore
//! use blitz_plugin::{self as blitz, Plugin, Verdict};
//!
//! struct Hello;
//!
//! impl Plugin for Hello {
//!     fn request(_method: &str, _path: &str) -> Verdict {
//!         if blitz::is_under(&blitz::canonical_path(), "/private") {
//!             blitz::set_status(403);
//!             blitz::set_body(b"not for you\n");
//!             return Verdict::Stop;
//!         }
//!         blitz::set_header("x-hello", "from Rust");
//!         Verdict::Continue
//!     }
//! }
//!
//! blitz::export!(Hello: request);
//! ```
//!
//! A panic ends the call; what it says goes to the plugin's log first, with file and line. That is all that
//! the crate needs `std` for: with `default-features = false` it does with `alloc`, and the plugin brings a
//! panic handler of its own.
//!
//! Which host functions a module imports is what it calls: one that calls [`body`] makes the gateway collect
//! request bodies.
#![no_std]

extern crate alloc;
#[cfg(feature = "std")]
extern crate std;

use alloc::string::String;
use alloc::vec::Vec;

#[cfg(feature = "std")]
mod panics;
mod raw;

/// What a hook decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub enum Verdict {
    /// The edits apply to the message passing through; the next plugin runs.
    Continue = 0,
    /// Request hook: the edits are the answer. Response hook: the remaining ones are skipped.
    Stop = 1,
    /// The edits are thrown away; the plugin's failure policy decides.
    Error = -1,
}

/// The hooks of a plugin; each may be left out, and [`export!`] names those that are there. They have no `self`: which instance of the module serves
/// which exchange is no promise, so what must outlive a call belongs to the host.
pub trait Plugin {
    /// Runs once per instance. An error is logged, and the plugin does not load.
    fn init() -> Result<(), String> {
        Ok(())
    }
    /// A request's head is there. `path` is the request-target, with its query.
    fn request(_method: &str, _path: &str) -> Verdict {
        Verdict::Continue
    }
    /// A response's head is there. `body` is empty with `response_body = "none"` in the manifest.
    fn response(_status: u16, _body: &str) -> Verdict {
        Verdict::Continue
    }
    /// A response's head is there; instead of `response`, for a plugin that sees the body part by part.
    fn response_head(_status: u16) -> Verdict {
        Verdict::Continue
    }
    /// A part of a request's body passes: bytes of any kind, cut anywhere; `end` with the last one. `Stop`: the
    /// rest passes unseen. What a `static` of the module keeps between parts is this exchange's own.
    fn request_chunk(_chunk: &[u8], _end: bool) -> Verdict {
        Verdict::Continue
    }
    /// The same of a response's body.
    fn response_chunk(_chunk: &[u8], _end: bool) -> Verdict {
        Verdict::Continue
    }
    /// The exchange is over: `done`, or why it ended before.
    fn end(_cause: &str) {}
    /// The instance ends in good health.
    fn cleanup() {}
}

/// Severity of a line in the gateway's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

pub fn log(level: Level, message: &str) {
    let name = match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    };
    unsafe { raw::log(name.as_ptr(), name.len(), message.as_ptr(), message.len()) }
}

/// First value of a header of the message in hand, as the bytes that came.
pub fn header_bytes(name: &str) -> Option<Vec<u8>> {
    read(|buf, cap| unsafe { raw::get_header(name.as_ptr(), name.len(), buf, cap) })
}

/// The same as text; bytes that are no UTF-8 become U+FFFD.
pub fn header(name: &str) -> Option<String> {
    header_bytes(name).map(text)
}

/// Replace all values of a header. A name that is no token, or a control character in the value, traps.
pub fn set_header(name: &str, value: impl AsRef<[u8]>) {
    let value = value.as_ref();
    unsafe { raw::set_header(name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub fn add_header(name: &str, value: impl AsRef<[u8]>) {
    let value = value.as_ref();
    unsafe { raw::add_header(name.as_ptr(), name.len(), value.as_ptr(), value.len()) }
}

pub fn remove_header(name: &str) {
    unsafe { raw::remove_header(name.as_ptr(), name.len()) }
}

/// The body of the message in hand; calling it makes the gateway collect request bodies.
pub fn body() -> Option<Vec<u8>> {
    read(|buf, cap| unsafe { raw::get_body(buf, cap) })
}

pub fn set_body(body: impl AsRef<[u8]>) {
    let body = body.as_ref();
    unsafe { raw::set_body(body.as_ptr(), body.len()) }
}

/// Replace the part in hand, by `max_body` bytes at most; empty: nothing is sent for it.
pub fn set_chunk(chunk: impl AsRef<[u8]>) {
    let chunk = chunk.as_ref();
    unsafe { raw::set_chunk(chunk.as_ptr(), chunk.len()) }
}

/// In a hook that sees a head: no part of its body is for this plugin, and the head stays as it is.
pub fn skip_body() {
    unsafe { raw::skip_body() }
}

pub fn set_status(status: u16) {
    unsafe { raw::set_status(status.into()) }
}

pub fn set_path(path: &str) {
    unsafe { raw::set_path(path.as_ptr(), path.len()) }
}

pub fn set_method(method: &str) {
    unsafe { raw::set_method(method.as_ptr(), method.len()) }
}

/// The request's path in the one spelling that a guard may compare: decoded, with dot segments resolved and
/// slashes merged, without parameters and query. Servers find `/private/x` behind `/%70rivate/x`, `//private/x`
/// and many more. A gateway that does not know it ends the call with a trap.
pub fn canonical_path() -> String {
    match property("request.path.canonical") {
        Some(path) => path,
        None => core::arch::wasm32::unreachable(),
    }
}

/// Is `path` the prefix, or below it? Prefix `/a`: `/a`, `/a/` and `/a/b` are, `/ab` is not.
pub fn is_under(path: &str, prefix: &str) -> bool {
    match path.strip_prefix(prefix.strip_suffix('/').unwrap_or(prefix)) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    }
}

/// `client.address`, `request.id`, `request.method`, `request.path`, `request.path.canonical`,
/// `request.host`, `response.status`, `route.name`, `upstream.address`, `plugin.name`, `body.truncated`,
/// `config.<key>`, `header.count.<name>` ...
pub fn property(name: &str) -> Option<String> {
    read(|buf, cap| unsafe { raw::get_property(name.as_ptr(), name.len(), buf, cap) }).map(text)
}

/// One value of the plugin's config as text; a list has one item per line.
pub fn config_value(key: &str) -> Option<String> {
    let mut name = String::from("config.");
    name.push_str(key);
    property(&name)
}

/// The whole config: JSON for a table.
pub fn config() -> Option<String> {
    read(|buf, cap| unsafe { raw::get_config(buf, cap) }).map(text)
}

/// An environment variable that the operator granted.
pub fn env(name: &str) -> Option<String> {
    read(|buf, cap| unsafe { raw::get_env(name.as_ptr(), name.len(), buf, cap) }).map(text)
}

/// Milliseconds since 1970-01-01 UTC.
pub fn now_ms() -> i64 {
    unsafe { raw::now_ms() }
}

pub fn random(out: &mut [u8]) {
    unsafe { raw::random(out.as_mut_ptr(), out.len()) }
}

/// What [`rate_limit`] found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tokens {
    /// One was taken; so many are left.
    Left(u32),
    /// None was there; the next one comes in so many milliseconds.
    WaitMs(u32),
}

/// Take one token of the bucket named `key`. The state is the host's.
pub fn rate_limit(key: &str, per_minute: u32, burst: u32) -> Tokens {
    match unsafe { raw::rate_limit(key.as_ptr(), key.len(), per_minute, burst) } {
        left if left >= 0 => Tokens::Left(left.unsigned_abs()),
        wait => Tokens::WaitMs(wait.unsigned_abs()),
    }
}

/// Add to a counter of the plugin's own, at `/metrics` of the gateway. A name is letters, digits and `_`, with up to
/// 4 labels in ascending order: `hits{kind="a",where="b"}`; another one traps. A plugin has at most 100 names.
pub fn count(name: &str, delta: u32) {
    unsafe { raw::count(name.as_ptr(), name.len(), delta.into()) }
}

/// Tell a value that may rise and fall, by a name as in [`count`].
pub fn gauge(name: &str, value: f64) {
    unsafe { raw::gauge(name.as_ptr(), name.len(), value) }
}

/// Put a value into a histogram, by a name as in [`count`].
pub fn observe(name: &str, value: f64) {
    unsafe { raw::observe(name.as_ptr(), name.len(), value) }
}

/// Add to a counter that all instances and workers share, and return the sum. A counter that is not there
/// begins at 0 and lives for `ttl_ms` (0: as long as there is room); one that is there keeps its time.
pub fn kv_incr(key: &str, delta: i64, ttl_ms: i64) -> i64 {
    unsafe { raw::kv_incr(key.as_ptr(), key.len(), delta, ttl_ms) }
}

/// A shared value; of a counter its decimal text.
pub fn kv_get(key: &str) -> Option<String> {
    read(|buf, cap| unsafe { raw::kv_get(key.as_ptr(), key.len(), buf, cap) }).map(text)
}

/// Replace a shared value, at most 256 bytes, and its time to live.
pub fn kv_set(key: &str, value: &str, ttl_ms: i64) {
    unsafe { raw::kv_set(key.as_ptr(), key.len(), value.as_ptr(), value.len(), ttl_ms) }
}

/// Wait. The gateway goes on with other exchanges meanwhile. Only in request and response hooks; what one call
/// waits for all together is bounded by the plugin's `wait_timeout`.
pub fn sleep_ms(ms: u32) {
    unsafe { raw::sleep_ms(ms) }
}

/// Why there is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchError {
    /// The operator has not granted that upstream.
    NotGranted,
    /// None came in time.
    Late,
    /// No connection, or no response that is one.
    Failed,
}

/// A request of the plugin's own, to an upstream by its name in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Fetch<'a> {
    pub upstream: &'a str,
    pub method: &'a str,
    pub target: &'a str,
    /// Lines `name: value\r\n`; may be empty.
    pub headers: &'a str,
    pub body: &'a [u8],
    /// 0: as long as the plugin may wait.
    pub timeout_ms: u32,
}

impl Fetch<'_> {
    /// Send it and wait for the response: its status. [`fetch_header`] and [`fetch_body`] read the rest, until the
    /// next one or the end of the hook.
    pub fn send(&self) -> Result<u16, FetchError> {
        let status = unsafe {
            raw::http_fetch(
                self.upstream.as_ptr(),
                self.upstream.len(),
                self.method.as_ptr(),
                self.method.len(),
                self.target.as_ptr(),
                self.target.len(),
                self.headers.as_ptr(),
                self.headers.len(),
                self.body.as_ptr(),
                self.body.len(),
                self.timeout_ms,
            )
        };
        match status {
            -1 => Err(FetchError::NotGranted),
            -2 => Err(FetchError::Late),
            status => u16::try_from(status).map_err(|_| FetchError::Failed),
        }
    }
}

/// The first value of that field of the last response.
pub fn fetch_header(name: &str) -> Option<String> {
    read(|buf, cap| unsafe { raw::fetch_header(name.as_ptr(), name.len(), buf, cap) }).map(text)
}

/// The body of the last response.
pub fn fetch_body() -> Option<Vec<u8>> {
    read(|buf, cap| unsafe { raw::fetch_body(buf, cap) })
}

fn text(bytes: Vec<u8>) -> String {
    match String::from_utf8(bytes) {
        Ok(text) => text,
        Err(bad) => String::from_utf8_lossy(bad.as_bytes()).into_owned(),
    }
}

/// Read a value of any length: into a small buffer first, once more if it was longer.
fn read(call: impl Fn(*mut u8, usize) -> i32) -> Option<Vec<u8>> {
    let mut buffer: Vec<u8> = Vec::with_capacity(128);
    loop {
        let len = usize::try_from(call(buffer.as_mut_ptr(), buffer.capacity())).ok()?;
        if len <= buffer.capacity() {
            // The host has written len bytes into the capacity that we gave it.
            unsafe { buffer.set_len(len) };
            return Some(buffer);
        }
        buffer.reserve_exact(len);
    }
}

/// Make a type that implements [`Plugin`] the plugin of this module, with the hooks that are named.
///
/// Only these are exported: a module with a response hook makes the gateway collect response bodies
/// (unless its manifest says `response_body = "none"`), one without it does not.
///
/// ```ignore
/// blitz_plugin::export!(Hello: init, request, response, cleanup);
/// ```
#[macro_export]
macro_rules! export {
    ($plugin:ty: $($hook:ident),+ $(,)?) => {
        $($crate::export!(@$hook $plugin);)+
    };
    (@init $plugin:ty) => {
        #[no_mangle]
        pub extern "C" fn init() -> i32 {
            $crate::hooks::init::<$plugin>()
        }
    };
    (@request $plugin:ty) => {
        #[no_mangle]
        pub unsafe extern "C" fn process_request(
            method: *const u8,
            method_len: usize,
            path: *const u8,
            path_len: usize,
        ) -> i32 {
            $crate::hooks::request::<$plugin>(method, method_len, path, path_len)
        }
    };
    (@response $plugin:ty) => {
        #[no_mangle]
        pub unsafe extern "C" fn process_response(status: i32, body: *const u8, body_len: usize) -> i32 {
            $crate::hooks::response::<$plugin>(status, body, body_len)
        }
    };
    (@response_head $plugin:ty) => {
        #[no_mangle]
        pub extern "C" fn process_response_head(status: i32) -> i32 {
            $crate::hooks::response_head::<$plugin>(status)
        }
    };
    (@request_chunk $plugin:ty) => {
        #[no_mangle]
        pub unsafe extern "C" fn process_request_chunk(chunk: *const u8, len: usize, end: i32) -> i32 {
            $crate::hooks::request_chunk::<$plugin>(chunk, len, end)
        }
    };
    (@response_chunk $plugin:ty) => {
        #[no_mangle]
        pub unsafe extern "C" fn process_response_chunk(chunk: *const u8, len: usize, end: i32) -> i32 {
            $crate::hooks::response_chunk::<$plugin>(chunk, len, end)
        }
    };
    (@end $plugin:ty) => {
        #[no_mangle]
        pub unsafe extern "C" fn process_end(cause: *const u8, len: usize) {
            $crate::hooks::end::<$plugin>(cause, len)
        }
    };
    (@cleanup $plugin:ty) => {
        #[no_mangle]
        pub extern "C" fn cleanup() -> i32 {
            $crate::hooks::cleanup::<$plugin>();
            0
        }
    };
}

/// What [`export!`] calls; not for anybody else.
#[doc(hidden)]
pub mod hooks {
    use super::{log, Level, Plugin};
    use core::{slice, str};

    pub fn cleanup<P: Plugin>() {
        begin();
        P::cleanup();
    }

    /// # Safety
    /// As the ABI says: valid UTF-8, lent for the call.
    unsafe fn lent<'a>(ptr: *const u8, len: usize) -> &'a str {
        if len == 0 {
            return "";
        }
        str::from_utf8_unchecked(slice::from_raw_parts(ptr, len))
    }

    /// Each hook begins with this: nobody knows which one is the first of its instance.
    fn begin() {
        #[cfg(feature = "std")]
        super::panics::log_them();
    }

    pub fn response_head<P: Plugin>(status: i32) -> i32 {
        begin();
        P::response_head(status as u16) as i32
    }

    /// # Safety
    /// As the ABI says: bytes of any kind, lent for the call.
    unsafe fn bytes<'a>(ptr: *const u8, len: usize) -> &'a [u8] {
        if len == 0 {
            return &[];
        }
        slice::from_raw_parts(ptr, len)
    }

    /// # Safety
    /// The arguments are the host's.
    pub unsafe fn request_chunk<P: Plugin>(chunk: *const u8, len: usize, end: i32) -> i32 {
        begin();
        P::request_chunk(bytes(chunk, len), end != 0) as i32
    }

    /// # Safety
    /// The arguments are the host's.
    pub unsafe fn response_chunk<P: Plugin>(chunk: *const u8, len: usize, end: i32) -> i32 {
        begin();
        P::response_chunk(bytes(chunk, len), end != 0) as i32
    }

    /// # Safety
    /// The argument is the host's.
    pub unsafe fn end<P: Plugin>(cause: *const u8, len: usize) {
        begin();
        P::end(lent(cause, len));
    }

    pub fn init<P: Plugin>() -> i32 {
        begin();
        match P::init() {
            Ok(()) => 0,
            Err(why) => {
                log(Level::Error, &why);
                -1
            }
        }
    }

    /// # Safety
    /// The arguments are the host's.
    pub unsafe fn request<P: Plugin>(m: *const u8, m_len: usize, p: *const u8, p_len: usize) -> i32 {
        begin();
        P::request(lent(m, m_len), lent(p, p_len)) as i32
    }

    /// # Safety
    /// The arguments are the host's.
    pub unsafe fn response<P: Plugin>(status: i32, body: *const u8, len: usize) -> i32 {
        begin();
        P::response(status as u16, lent(body, len)) as i32
    }
}
