//! Write plugins for the Blitz gateway in Zig 0.17. One file, no dependencies but std.
//!
//! A plugin is a file with `pub` functions for hooks, and one line that exports them:
//!
//!     const blitz = @import("blitz");
//!     pub const panic = blitz.panic;
//!     comptime {
//!         blitz.plugin(@This());
//!     }
//!     pub fn request(method: []const u8, path: []const u8) !blitz.Verdict { ... }
//!
//! The hooks, each of which may be left out:
//!
//!     pub fn init() !void                                           once per instance
//!     pub fn request(method: []const u8, path: []const u8) !Verdict    a request's head is there
//!     pub fn response(status: u16, body: []const u8) !Verdict          a response's head is there
//!     pub fn cleanup() void                                         the instance ends in good health
//!
//! They read the message in hand and note edits through the functions of this file. Nothing changes before
//! a hook returns. An error that a hook returns is logged with its name and counts as `Verdict.failed`.

const std = @import("std");
const Allocator = std.mem.Allocator;

/// What a hook decides.
pub const Verdict = enum(i32) {
    /// The edits apply to the message passing through; the next plugin runs.
    proceed = 0,
    /// In a request hook the edits are the answer; in a response hook the remaining ones are skipped.
    stop = 1,
    /// The edits are thrown away; the plugin's failure policy decides.
    failed = -1,
};

pub const Level = enum { trace, debug, info, warn, err };

/// The imports as the ABI "blitz/1" spells them. Only what a plugin calls becomes an import of its module.
const host = struct {
    extern "blitz" fn log(level: [*]const u8, level_len: usize, text: [*]const u8, len: usize) void;
    extern "blitz" fn get_env(name: [*]const u8, len: usize, buf: [*]u8, cap: usize) i32;
    extern "blitz" fn get_header(name: [*]const u8, len: usize, buf: [*]u8, cap: usize) i32;
    extern "blitz" fn set_header(name: [*]const u8, len: usize, value: [*]const u8, value_len: usize) void;
    extern "blitz" fn add_header(name: [*]const u8, len: usize, value: [*]const u8, value_len: usize) void;
    extern "blitz" fn remove_header(name: [*]const u8, len: usize) void;
    extern "blitz" fn get_body(buf: [*]u8, cap: usize) i32;
    extern "blitz" fn set_body(body: [*]const u8, len: usize) void;
    extern "blitz" fn set_status(status: i32) void;
    extern "blitz" fn set_path(path: [*]const u8, len: usize) void;
    extern "blitz" fn set_method(method: [*]const u8, len: usize) void;
    extern "blitz" fn get_property(name: [*]const u8, len: usize, buf: [*]u8, cap: usize) i32;
    extern "blitz" fn get_config(buf: [*]u8, cap: usize) i32;
    extern "blitz" fn now_ms() i64;
    extern "blitz" fn random(buf: [*]u8, len: usize) void;
    extern "blitz" fn rate_limit(key: [*]const u8, len: usize, per_minute: i32, burst: i32) i32;
    extern "blitz" fn count(name: [*]const u8, len: usize, delta: i64) void;
    extern "blitz" fn gauge(name: [*]const u8, len: usize, value: f64) void;
    extern "blitz" fn observe(name: [*]const u8, len: usize, value: f64) void;
    extern "blitz" fn kv_incr(key: [*]const u8, len: usize, delta: i64, ttl_ms: i64) i64;
    extern "blitz" fn kv_get(key: [*]const u8, len: usize, buf: [*]u8, cap: usize) i32;
    extern "blitz" fn kv_set(key: [*]const u8, len: usize, value: [*]const u8, value_len: usize, ttl_ms: i64) void;
    extern "blitz" fn sleep_ms(ms: i32) void;
    extern "blitz" fn http_fetch(upstream: [*]const u8, upstream_len: usize, method: [*]const u8, method_len: usize, target: [*]const u8, target_len: usize, headers: [*]const u8, headers_len: usize, body: [*]const u8, body_len: usize, timeout_ms: i32) i32;
    extern "blitz" fn fetch_header(name: [*]const u8, len: usize, buf: [*]u8, cap: usize) i32;
    extern "blitz" fn fetch_body(buf: [*]u8, cap: usize) i32;
};

// ------------------------------------------------------------------------------------------- the log

pub fn log(level: Level, text: []const u8) void {
    const name = if (level == .err) "error" else @tagName(level);
    host.log(name.ptr, name.len, text.ptr, text.len);
}

/// The same with a format of std.fmt; what is longer than 1 KiB is cut.
pub fn print(level: Level, comptime format: []const u8, args: anytype) void {
    var line: [1024]u8 = undefined;
    log(level, std.fmt.bufPrint(&line, format, args) catch &line);
}

/// For `pub const panic = blitz.panic;`: what a safety check or @panic says goes to the log, then the call
/// ends with a trap.
pub const panic = std.debug.FullPanic(struct {
    fn call(message: []const u8, _: ?usize) noreturn {
        @branchHint(.cold);
        print(.err, "panic: {s}", .{message});
        @trap();
    }
}.call);

// ------------------------------------------------------------------------------------------- memory

/// Memory that lasts until the hook returns. What `init` takes from it stays.
pub const allocator: Allocator = .{ .ptr = undefined, .vtable = &region_vtable };

/// Pages of the module's memory that are this file's own; a C library's heap is left alone.
const region = struct {
    var start: usize = 0;
    var end: usize = 0;
    var top: usize = 0;
    var kept: usize = 0;

    fn take(size: usize, alignment: usize) ?[*]u8 {
        const place = std.mem.alignForward(usize, top, alignment);
        const after = std.math.add(usize, place, size) catch return null;
        if (after <= end) {
            top = after;
            return @ptrFromInt(place);
        }
        if (!grow(size + alignment)) return null;
        return take(size, alignment);
    }

    /// More pages at the end. Where somebody else has grown the memory in between, what was free of the old
    /// pages is lost until the hook returns: all goes on in the new ones.
    fn grow(size: usize) bool {
        const pages = std.math.divCeil(usize, size, 65536) catch return false;
        const old = @wasmMemoryGrow(0, pages);
        if (old < 0) return false;
        const place: usize = @as(usize, @intCast(old)) * 65536;
        if (place != end) {
            start = place;
            top = place;
        }
        end = place + pages * 65536;
        return true;
    }

    fn back() void {
        // Pages that init did not see: `kept` is in others, which are full.
        top = if (kept >= start and kept <= end) kept else start;
    }
};

const region_vtable: Allocator.VTable = .{
    .alloc = struct {
        fn alloc(_: *anyopaque, size: usize, alignment: std.mem.Alignment, _: usize) ?[*]u8 {
            return region.take(size, alignment.toByteUnits());
        }
    }.alloc,
    .resize = struct {
        fn resize(_: *anyopaque, memory: []u8, _: std.mem.Alignment, size: usize, _: usize) bool {
            const place = @intFromPtr(memory.ptr);
            if (place + memory.len != region.top) return size <= memory.len;
            if (place + size > region.end) return false;
            region.top = place + size;
            return true;
        }
    }.resize,
    .remap = Allocator.noRemap,
    .free = Allocator.noFree,
};

// ------------------------------------------------------------------------------------------- reading

/// First value of a header of the message in hand.
pub fn header(name: []const u8) ?[]u8 {
    return read(host.get_header, .{ name.ptr, name.len });
}

/// client.address, request.id, route.name, config.<key> ...
pub fn property(name: []const u8) ?[]u8 {
    return read(host.get_property, .{ name.ptr, name.len });
}

/// One value of the plugin's config as text; a list has one item per line.
pub fn configValue(key: []const u8) ?[]u8 {
    const prefix = "config.";
    const name = allocator.alloc(u8, prefix.len + key.len) catch @panic("out of memory");
    @memcpy(name[0..prefix.len], prefix);
    @memcpy(name[prefix.len..], key);
    return property(name);
}

/// The whole config: JSON for a table.
pub fn config() ?[]u8 {
    return read(host.get_config, .{});
}

/// An environment variable that the operator granted.
pub fn env(name: []const u8) ?[]u8 {
    return read(host.get_env, .{ name.ptr, name.len });
}

/// The body of the message in hand. Calling it makes the gateway collect request bodies.
pub fn body() ?[]u8 {
    return read(host.get_body, .{});
}

/// A value of any length, in memory that lasts until the hook returns: asked for with a small buffer first,
/// once more if it was longer.
fn read(comptime call: anytype, args: anytype) ?[]u8 {
    var buffer = allocator.alloc(u8, 256) catch @panic("out of memory");
    while (true) {
        const size = @call(.auto, call, args ++ .{ buffer.ptr, buffer.len });
        if (size < 0) return null;
        const len: usize = @intCast(size);
        if (len <= buffer.len) return buffer[0..len];
        buffer = allocator.alloc(u8, len) catch @panic("out of memory");
    }
}

// ------------------------------------------------------------------------------------------- changing

/// Replace all values. A name that is no token, or a control character in the value, ends the call.
pub fn setHeader(name: []const u8, value: []const u8) void {
    host.set_header(name.ptr, name.len, value.ptr, value.len);
}

/// The same with a format of std.fmt.
pub fn setHeaderPrint(name: []const u8, comptime format: []const u8, args: anytype) !void {
    setHeader(name, try std.fmt.allocPrint(allocator, format, args));
}

pub fn addHeader(name: []const u8, value: []const u8) void {
    host.add_header(name.ptr, name.len, value.ptr, value.len);
}

pub fn removeHeader(name: []const u8) void {
    host.remove_header(name.ptr, name.len);
}

pub fn setBody(text: []const u8) void {
    host.set_body(text.ptr, text.len);
}

pub fn setStatus(status: u16) void {
    host.set_status(status);
}

pub fn setPath(path: []const u8) void {
    host.set_path(path.ptr, path.len);
}

pub fn setMethod(method: []const u8) void {
    host.set_method(method.ptr, method.len);
}

// ------------------------------------------------------------------------------------------- the rest

/// Milliseconds since 1970-01-01 UTC.
pub fn nowMs() i64 {
    return host.now_ms();
}

pub fn random(buffer: []u8) void {
    host.random(buffer.ptr, buffer.len);
}

pub const Tokens = union(enum) {
    /// One was taken; so many are left.
    left: u32,
    /// None was there; the next one comes in so many milliseconds.
    wait_ms: u32,
};

/// Take one token of the bucket named `key`, refilled `per_minute`, `burst` at most. The state is the host's.
pub fn rateLimit(key: []const u8, per_minute: u31, burst: u31) Tokens {
    const left = host.rate_limit(key.ptr, key.len, per_minute, burst);
    return if (left >= 0) .{ .left = @intCast(left) } else .{ .wait_ms = @abs(left) };
}

/// Add to a counter of the plugin's own, at /metrics of the gateway. A name is letters, digits and _, with up to 4
/// labels in ascending order: hits{kind="a",where="b"}; another one traps. A plugin has at most 100 names.
pub fn count(name: []const u8, delta: u32) void {
    host.count(name.ptr, name.len, delta);
}

/// Tell a value that may rise and fall, by a name as in `count`.
pub fn gauge(name: []const u8, value: f64) void {
    host.gauge(name.ptr, name.len, value);
}

/// Put a value into a histogram, by a name as in `count`.
pub fn observe(name: []const u8, value: f64) void {
    host.observe(name.ptr, name.len, value);
}

/// Add to a counter that all instances and workers share; the sum. One that is not there begins at 0 and
/// lives for `ttl_ms` (0: as long as there is room).
pub fn kvIncr(key: []const u8, delta: i64, ttl_ms: i64) i64 {
    return host.kv_incr(key.ptr, key.len, delta, ttl_ms);
}

/// A shared value; of a counter its decimal text.
pub fn kvGet(key: []const u8) ?[]u8 {
    return read(host.kv_get, .{ key.ptr, key.len });
}

/// Replace a shared value, at most 256 bytes, and its time to live.
pub fn kvSet(key: []const u8, value: []const u8, ttl_ms: i64) void {
    host.kv_set(key.ptr, key.len, value.ptr, value.len, ttl_ms);
}

// ------------------------------------------------------------------------------------------- waiting

/// Wait. The gateway goes on with other exchanges meanwhile. Only in request and response hooks; what one call
/// waits for all together is bounded by the plugin's wait_timeout.
pub fn sleepMs(ms: u31) void {
    host.sleep_ms(ms);
}

pub const FetchError = error{ NotGranted, Late, Failed };

/// Send a request to an upstream that the operator granted, by its name in the configuration; the status of the
/// response. `headers` are lines "name: value\r\n"; `timeout_ms` 0 is as long as the plugin may wait.
pub fn fetch(upstream: []const u8, method: []const u8, target: []const u8, headers: []const u8, content: []const u8, timeout_ms: u31) FetchError!u16 {
    const status = host.http_fetch(upstream.ptr, upstream.len, method.ptr, method.len, target.ptr, target.len, headers.ptr, headers.len, content.ptr, content.len, timeout_ms);
    return switch (status) {
        -1 => error.NotGranted,
        -2 => error.Late,
        else => if (status < 0) error.Failed else @intCast(status),
    };
}

/// The first value of that field of the last response, until the next fetch or the end of the hook.
pub fn fetchHeader(name: []const u8) ?[]u8 {
    return read(host.fetch_header, .{ name.ptr, name.len });
}

/// Its body.
pub fn fetchBody() ?[]u8 {
    return read(host.fetch_body, .{});
}

// ------------------------------------------------------------------------------------------- exports

/// Room for a method and a 64 KiB path: the host writes arguments here without calling the guest.
var buffer_bytes: [64 * 1024 + 256]u8 = undefined;

/// Export the hooks that `Hooks` has, under the names of the ABI. One with a response hook makes the gateway
/// collect response bodies, unless the manifest says response_body = "none".
pub fn plugin(comptime Hooks: type) void {
    const exports = struct {
        fn init() callconv(.c) i32 {
            Hooks.init() catch |failure| {
                print(.err, "init: {s}", .{@errorName(failure)});
                return -1;
            };
            region.kept = region.top;
            return 0;
        }

        fn request(m: [*]const u8, m_len: usize, p: [*]const u8, p_len: usize) callconv(.c) i32 {
            defer region.back();
            return verdict("request", Hooks.request(m[0..m_len], p[0..p_len]));
        }

        fn response(status: i32, b: [*]const u8, b_len: usize) callconv(.c) i32 {
            defer region.back();
            return verdict("response", Hooks.response(@intCast(status), b[0..b_len]));
        }

        fn cleanup() callconv(.c) i32 {
            Hooks.cleanup();
            return 0;
        }

        fn buffer() callconv(.c) [*]u8 {
            return &buffer_bytes;
        }

        fn bufferSize() callconv(.c) usize {
            return buffer_bytes.len;
        }

        fn alloc(size: usize) callconv(.c) ?[*]u8 {
            return region.take(size, 8);
        }
    };
    if (@hasDecl(Hooks, "init")) @export(&exports.init, .{ .name = "init" });
    if (@hasDecl(Hooks, "request")) @export(&exports.request, .{ .name = "process_request" });
    if (@hasDecl(Hooks, "response")) @export(&exports.response, .{ .name = "process_response" });
    if (@hasDecl(Hooks, "cleanup")) @export(&exports.cleanup, .{ .name = "cleanup" });
    @export(&exports.buffer, .{ .name = "blitz_buffer" });
    @export(&exports.bufferSize, .{ .name = "blitz_buffer_size" });
    // What the buffer cannot hold; it goes when the hook returns.
    @export(&exports.alloc, .{ .name = "blitz_alloc" });
}

fn verdict(comptime hook: []const u8, outcome: anyerror!Verdict) i32 {
    return @intFromEnum(outcome catch |failure| failed: {
        print(.err, hook ++ ": {s}", .{@errorName(failure)});
        break :failed Verdict.failed;
    });
}
