const std = @import("std");
const blitz = @import("blitz");

pub const panic = blitz.panic;
comptime {
    blitz.plugin(@This());
}

pub fn request(method: []const u8, _: []const u8) !blitz.Verdict {
    if (!std.mem.eql(u8, method, "GET") and !std.mem.eql(u8, method, "HEAD")) {
        blitz.setStatus(405);
        blitz.setHeader("allow", "GET, HEAD");
        blitz.setBody("read only\n");
        return .stop;
    }
    blitz.setHeader("x-hello", "from Zig");
    return .proceed;
}
