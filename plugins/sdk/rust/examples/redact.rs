//! A secret does not leave: each byte of it is sent as '*', wherever the parts of a body are cut.
//!
//! ```toml
//! [[plugins]]
//! file = "redact.wasm"
//! config = { secret = "s3cret" }
//! ```
//!
//! What might be the beginning of the secret is held back until the next part says whether it is. Upstreams are
//! asked for bodies without a coding (Content-Encoding); one that has a coding all the same is not sent.

use blitz_plugin::{self as blitz, Plugin, Verdict};
use std::cell::RefCell;

#[derive(Default)]
struct Redact {
    secret: Vec<u8>,
    held: Vec<u8>,
}

impl Redact {
    fn pass(&mut self, chunk: &[u8], end: bool) -> Vec<u8> {
        let mut work = std::mem::take(&mut self.held);
        work.extend_from_slice(chunk);
        let n = self.secret.len();
        for at in 0..(work.len() + 1).saturating_sub(n) {
            if work[at..at + n] == self.secret[..] {
                work[at..at + n].fill(b'*');
            }
        }
        let keep = if end { 0 } else { self.beginning(&work) };
        self.held = work.split_off(work.len() - keep);
        work
    }

    /// How many bytes at the end may be the beginning of the secret.
    fn beginning(&self, work: &[u8]) -> usize {
        let most = (self.secret.len() - 1).min(work.len());
        (0..=most).rev().find(|&n| work.ends_with(&self.secret[..n])).unwrap_or(0)
    }
}

thread_local! {
    // The instance serves one exchange at a time: this is its state.
    static STATE: RefCell<Redact> = RefCell::default();
}

impl Plugin for Redact {
    fn init() -> Result<(), String> {
        let secret = blitz::config_value("secret").unwrap_or_default().into_bytes();
        if secret.is_empty() {
            return Err("config.secret must not be empty".into());
        }
        STATE.with(|state| state.borrow_mut().secret = secret);
        Ok(())
    }

    fn request(_method: &str, _path: &str) -> Verdict {
        blitz::set_header("accept-encoding", "identity");
        Verdict::Continue
    }

    fn response_head(_status: u16) -> Verdict {
        STATE.with(|state| state.borrow_mut().held.clear());
        match blitz::header("content-encoding") {
            Some(coding) if !coding.eq_ignore_ascii_case("identity") => Verdict::Error,
            _ => Verdict::Continue,
        }
    }

    fn response_chunk(chunk: &[u8], end: bool) -> Verdict {
        blitz::set_chunk(STATE.with(|state| state.borrow_mut().pass(chunk, end)));
        Verdict::Continue
    }
}

blitz::export!(Redact: init, request, response_head, response_chunk);
