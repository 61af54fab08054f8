use blitz_plugin::{self as blitz, Plugin, Verdict};

struct Hello;

impl Plugin for Hello {
    fn request(_method: &str, _path: &str) -> Verdict {
        if blitz::is_under(&blitz::canonical_path(), "/private") {
            blitz::set_status(403);
            blitz::set_body(b"not for you\n");
            return Verdict::Stop;
        }
        blitz::set_header("x-hello", "from Rust");
        Verdict::Continue
    }
}

blitz::export!(Hello: request);
