/**
 * Write plugins for the Blitz gateway in AssemblyScript. One file; copy it beside your plugin or import it.
 *
 * A plugin exports hooks of its own and re-exports the buffer (see README.md). Strings of AssemblyScript
 * are UTF-16; here they are turned into the UTF-8 of the ABI and back.
 */

// @ts-ignore: decorator
@external("blitz", "log")
declare function hostLog(level: usize, levelSize: i32, text: usize, size: i32): void;
// @ts-ignore: decorator
@external("blitz", "get_env")
declare function hostGetEnv(name: usize, size: i32, buf: usize, cap: i32): i32;
// @ts-ignore: decorator
@external("blitz", "get_header")
declare function hostGetHeader(name: usize, size: i32, buf: usize, cap: i32): i32;
// @ts-ignore: decorator
@external("blitz", "set_header")
declare function hostSetHeader(name: usize, size: i32, value: usize, valueSize: i32): void;
// @ts-ignore: decorator
@external("blitz", "add_header")
declare function hostAddHeader(name: usize, size: i32, value: usize, valueSize: i32): void;
// @ts-ignore: decorator
@external("blitz", "remove_header")
declare function hostRemoveHeader(name: usize, size: i32): void;
// @ts-ignore: decorator
@external("blitz", "get_body")
declare function hostGetBody(buf: usize, cap: i32): i32;
// @ts-ignore: decorator
@external("blitz", "set_body")
declare function hostSetBody(body: usize, size: i32): void;
// @ts-ignore: decorator
@external("blitz", "set_status")
declare function hostSetStatus(status: i32): void;
// @ts-ignore: decorator
@external("blitz", "set_path")
declare function hostSetPath(path: usize, size: i32): void;
// @ts-ignore: decorator
@external("blitz", "set_method")
declare function hostSetMethod(method: usize, size: i32): void;
// @ts-ignore: decorator
@external("blitz", "get_property")
declare function hostGetProperty(name: usize, size: i32, buf: usize, cap: i32): i32;
// @ts-ignore: decorator
@external("blitz", "get_config")
declare function hostGetConfig(buf: usize, cap: i32): i32;
// @ts-ignore: decorator
@external("blitz", "now_ms")
declare function hostNowMs(): i64;
// @ts-ignore: decorator
@external("blitz", "rate_limit")
declare function hostRateLimit(key: usize, size: i32, perMinute: i32, burst: i32): i32;
// @ts-ignore: decorator
@external("blitz", "sleep_ms")
declare function hostSleepMs(ms: i32): void;
// @ts-ignore: decorator
@external("blitz", "http_fetch")
declare function hostHttpFetch(
  upstream: usize, upstreamSize: i32, method: usize, methodSize: i32, target: usize, targetSize: i32,
  headers: usize, headersSize: i32, body: usize, bodySize: i32, timeoutMs: i32
): i32;
// @ts-ignore: decorator
@external("blitz", "fetch_header")
declare function hostFetchHeader(name: usize, size: i32, buf: usize, cap: i32): i32;
// @ts-ignore: decorator
@external("blitz", "fetch_body")
declare function hostFetchBody(buf: usize, cap: i32): i32;
// @ts-ignore: decorator
@external("blitz", "count")
declare function hostCount(name: usize, size: i32, delta: i64): void;
// @ts-ignore: decorator
@external("blitz", "gauge")
declare function hostGauge(name: usize, size: i32, value: f64): void;
// @ts-ignore: decorator
@external("blitz", "observe")
declare function hostObserve(name: usize, size: i32, value: f64): void;

/** The edits apply to the message passing through; the next plugin runs. */
export const CONTINUE: i32 = 0;
/** In a request hook the edits are the answer; in a response hook the remaining ones are skipped. */
export const STOP: i32 = 1;
/** The edits are thrown away; the plugin's failure policy decides. */
export const ERROR: i32 = -1;

const BUFFER_SIZE: i32 = 64 * 1024 + 256; // a method and a 64 KiB path
const buffer = new StaticArray<u8>(BUFFER_SIZE);

/** To be re-exported by the plugin: where the host writes arguments. */
export function blitz_buffer(): usize {
  return changetype<usize>(buffer);
}
export function blitz_buffer_size(): i32 {
  return BUFFER_SIZE;
}
/** To be re-exported by a plugin that takes response bodies: room for what the buffer cannot hold. */
export function blitz_alloc(size: i32): usize {
  return heap.alloc(size);
}
export function blitz_free(ptr: usize, size: i32): void {
  heap.free(ptr);
}

/** An argument of a hook as a string. */
export function text(ptr: usize, size: i32): string {
  return String.UTF8.decodeUnsafe(ptr, size);
}

// @ts-ignore: decorator
@inline
function utf8(value: string): ArrayBuffer {
  return String.UTF8.encode(value);
}

type Reader = (name: usize, size: i32, buf: usize, cap: i32) => i32;

/** Reads a value of any length: into a small buffer first, once more if it was longer. */
function read(reader: Reader, name: string): string | null {
  const n = utf8(name);
  let cap = 128;
  while (true) {
    const buf = new ArrayBuffer(cap);
    const size = reader(changetype<usize>(n), n.byteLength, changetype<usize>(buf), cap);
    if (size < 0) return null;
    if (size <= cap) return text(changetype<usize>(buf), size);
    cap = size;
  }
}

/** level: trace, debug, info, warn or error. */
export function log(level: string, message: string): void {
  const l = utf8(level), m = utf8(message);
  hostLog(changetype<usize>(l), l.byteLength, changetype<usize>(m), m.byteLength);
}

/** First value of a header of the message in hand, or null. */
export function header(name: string): string | null {
  return read((n, size, buf, cap) => hostGetHeader(n, size, buf, cap), name);
}

/** Replaces all values. A name that is no token, or a control character in the value, traps. */
export function setHeader(name: string, value: string): void {
  const n = utf8(name), v = utf8(value);
  hostSetHeader(changetype<usize>(n), n.byteLength, changetype<usize>(v), v.byteLength);
}

export function addHeader(name: string, value: string): void {
  const n = utf8(name), v = utf8(value);
  hostAddHeader(changetype<usize>(n), n.byteLength, changetype<usize>(v), v.byteLength);
}

export function removeHeader(name: string): void {
  const n = utf8(name);
  hostRemoveHeader(changetype<usize>(n), n.byteLength);
}

/** The body of the message in hand, or null. Calling it makes the gateway collect request bodies. */
export function body(): string | null {
  return read((n, size, buf, cap) => hostGetBody(buf, cap), "");
}

export function setBody(value: string): void {
  const v = utf8(value);
  hostSetBody(changetype<usize>(v), v.byteLength);
}

export function setStatus(status: i32): void {
  hostSetStatus(status);
}

export function setPath(path: string): void {
  const p = utf8(path);
  hostSetPath(changetype<usize>(p), p.byteLength);
}

export function setMethod(method: string): void {
  const m = utf8(method);
  hostSetMethod(changetype<usize>(m), m.byteLength);
}

/** client.address, request.id, request.path.canonical, route.name, config.<key>, header.count.<name> ..., or null. */
export function property(name: string): string | null {
  return read((n, size, buf, cap) => hostGetProperty(n, size, buf, cap), name);
}

/**
 * The request's path in the one spelling that a guard may compare: decoded, with dot segments resolved and slashes
 * merged, without parameters and query. Servers find /private/x behind /%70rivate/x, //private/x and many more.
 * A gateway that does not know it ends the call with a trap.
 */
export function canonicalPath(): string {
  const path = property("request.path.canonical");
  if (path === null) unreachable();
  return path as string;
}

/** Is the path the prefix, or below it? Prefix /a: /a, /a/ and /a/b are, /ab is not. */
export function isUnder(path: string, prefix: string): bool {
  const bare = prefix.endsWith("/") ? prefix.substring(0, prefix.length - 1) : prefix;
  return path == bare || path.startsWith(bare + "/");
}

/** One value of the plugin's config as text; a list has one item per line. */
export function configValue(key: string): string | null {
  return property("config." + key);
}

/** The whole config: JSON for a table. */
export function config(): string | null {
  return read((n, size, buf, cap) => hostGetConfig(buf, cap), "");
}

/** An environment variable that the operator granted, or null. */
export function env(name: string): string | null {
  return read((n, size, buf, cap) => hostGetEnv(n, size, buf, cap), name);
}

/** Milliseconds since 1970-01-01 UTC. */
export function nowMs(): i64 {
  return hostNowMs();
}

/** Take one token: tokens left (>= 0), or minus the milliseconds until there is one. */
export function rateLimit(key: string, perMinute: i32, burst: i32): i32 {
  const k = utf8(key);
  return hostRateLimit(changetype<usize>(k), k.byteLength, perMinute, burst);
}

/** Wait; the gateway goes on with other exchanges. In hooks only; `wait_timeout` bounds all waits of a call. */
export function sleepMs(ms: i32): void {
  hostSleepMs(ms);
}

export const FETCH_NOT_GRANTED: i32 = -1;
export const FETCH_LATE: i32 = -2;
export const FETCH_FAILED: i32 = -3;

/**
 * Send a request to an upstream that the operator granted, by its name in the configuration: the status of the
 * response, or one of the above. headers: lines "name: value\r\n". timeoutMs 0: as long as the plugin may wait.
 */
export function fetch(
  upstream: string, method: string, target: string, headers: string, body: string, timeoutMs: i32
): i32 {
  const u = utf8(upstream), m = utf8(method), t = utf8(target), h = utf8(headers), b = utf8(body);
  return hostHttpFetch(
    changetype<usize>(u), u.byteLength, changetype<usize>(m), m.byteLength, changetype<usize>(t), t.byteLength,
    changetype<usize>(h), h.byteLength, changetype<usize>(b), b.byteLength, timeoutMs
  );
}

/** The first value of that field of the last response, until the next one or the end of the hook. */
export function fetchHeader(name: string): string | null {
  return read((n, size, buf, cap) => hostFetchHeader(n, size, buf, cap), name);
}

/** Its body. */
export function fetchBody(): string | null {
  return read((n, size, buf, cap) => hostFetchBody(buf, cap), "");
}

/**
 * Add to a counter of the plugin's own, at /metrics of the gateway. A name is letters, digits and _, with up to 4 labels
 * in ascending order: hits{kind="a",where="b"}; another one traps. A plugin has at most 100 names.
 */
export function count(name: string, delta: i64): void {
  const n = utf8(name);
  hostCount(changetype<usize>(n), n.byteLength, delta);
}

/** Tell a value that may rise and fall, by a name as in count. */
export function gauge(name: string, value: f64): void {
  const n = utf8(name);
  hostGauge(changetype<usize>(n), n.byteLength, value);
}

/** Put a value into a histogram, by a name as in count. */
export function observe(name: string, value: f64): void {
  const n = utf8(name);
  hostObserve(changetype<usize>(n), n.byteLength, value);
}
