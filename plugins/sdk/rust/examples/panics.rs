//! What a panic says goes to the log, from every hook and in every form; the tests drive it.
use blitz_plugin::{self as blitz, Plugin, Verdict};

struct Panics;

#[inline(never)]
fn explode(index: usize) -> usize {
    let squares: Vec<usize> = (0..8).map(|n| n * n).collect();
    squares[index]
}

impl Plugin for Panics {
    fn init() -> Result<(), String> {
        match blitz::config_value("panic") {
            Some(why) => panic!("{}", why),
            None => Ok(()),
        }
    }

    fn request(_method: &str, path: &str) -> Verdict {
        blitz::set_header("x-square", explode(path.len()).to_string());
        Verdict::Continue
    }

    fn response(status: u16, _body: &str) -> Verdict {
        match status {
            500 => panic!("in so many words"),
            501 => None::<Verdict>.expect("there is one"),
            502 => std::panic::panic_any(7),
            _ => Verdict::Continue,
        }
    }

    fn cleanup() {
        panic!("two\nlines");
    }
}

blitz::export!(Panics: init, request, response, cleanup);
