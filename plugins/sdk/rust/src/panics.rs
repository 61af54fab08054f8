//! Panics in words: the standard library says nothing on wasm32-unknown-unknown, where it knows no place to.

use super::{log, Level};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::sync::atomic::{AtomicBool, Ordering};

static INSTALLED: AtomicBool = AtomicBool::new(false);

/// From now on what a panic says is a line in the plugin's log. Only the first call does something, so a
/// hook that the plugin sets for itself stays.
pub fn log_them() {
    if INSTALLED.load(Ordering::Relaxed) {
        return;
    }
    INSTALLED.store(true, Ordering::Relaxed);
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let message: &str = match payload.downcast_ref::<&str>() {
            Some(text) => text,
            None => payload.downcast_ref::<String>().map_or("no message", |text| text.as_str()),
        };
        match info.location() {
            Some(place) => log(Level::Error, &format!("panicked at {}: {}", place, message)),
            None => log(Level::Error, &format!("panicked: {}", message)),
        }
    }));
}
