//! Calls all kinds of host functions; the tests drive it, freestanding and over WASI.
const std = @import("std");
const blitz = @import("blitz");

pub const panic = blitz.panic;
comptime {
    blitz.plugin(@This());
}

pub fn init() !void {
    blitz.log(.debug, "probe starts");
    if (blitz.configValue("refuse")) |why| {
        blitz.log(.err, why);
        return error.Refused;
    }
}

pub fn request(method: []const u8, path: []const u8) !blitz.Verdict {
    try blitz.setHeaderPrint("x-seen", "{s} {s}", .{ method, path });
    if (blitz.env("PROBE_NAME")) |name| blitz.addHeader("x-name", name);
    if (blitz.header("x-echo")) |echo| {
        try blitz.setHeaderPrint("x-echo-length", "{d}", .{echo.len});
        blitz.removeHeader("x-echo");
    }
    blitz.setHeader("x-client", blitz.property("client.address") orelse "");
    switch (blitz.rateLimit("probe", 1, 2)) {
        .left => |left| try blitz.setHeaderPrint("x-left", "{d}", .{left}),
        .wait_ms => {
            blitz.setStatus(429);
            return .stop;
        },
    }
    return .proceed;
}

pub fn response(status: u16, body: []const u8) !blitz.Verdict {
    try blitz.setHeaderPrint("x-status", "{d}", .{status});
    try blitz.setHeaderPrint("x-body-chars", "{d}", .{try std.unicode.utf8CountCodepoints(body)});
    return .proceed;
}

pub fn cleanup() void {
    blitz.log(.info, "probe ends");
}
