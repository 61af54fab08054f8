//! Calls all there is; the tests drive it.
use blitz_plugin::{self as blitz, Level, Plugin, Tokens, Verdict};

struct Probe;

impl Plugin for Probe {
    fn init() -> Result<(), String> {
        blitz::log(Level::Debug, "probe starts");
        match blitz::config_value("refuse") {
            Some(why) => Err(why),
            None => Ok(()),
        }
    }

    fn request(method: &str, path: &str) -> Verdict {
        blitz::set_header("x-seen", format!("{method} {path}"));
        if let Some(name) = blitz::env("PROBE_NAME") {
            blitz::add_header("x-name", name);
        }
        if let Some(text) = blitz::header("x-echo") {
            blitz::set_header("x-echo-length", text.len().to_string());
            blitz::remove_header("x-echo");
        }
        blitz::set_header("x-client", blitz::property("client.address").unwrap_or_default());
        match blitz::rate_limit("probe", 1, 2) {
            Tokens::Left(left) => blitz::set_header("x-left", left.to_string()),
            Tokens::WaitMs(_) => {
                blitz::set_status(429);
                return Verdict::Stop;
            }
        }
        Verdict::Continue
    }

    fn response(status: u16, body: &str) -> Verdict {
        blitz::set_header("x-status", status.to_string());
        blitz::set_header("x-body-chars", body.chars().count().to_string());
        Verdict::Continue
    }

    fn cleanup() {
        blitz::log(Level::Info, "probe ends");
    }
}

blitz::export!(Probe: init, request, response, cleanup);
