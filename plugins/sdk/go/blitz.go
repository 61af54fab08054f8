//go:build wasip1

// Package blitz writes plugins for the Blitz gateway in Go (1.24 or later, GOOS=wasip1).
//
// A plugin registers its hooks in an init function; main stays empty:
//
//	package main
//
//	import blitz "blitz.example/plugin"
//
//	func init() {
//		blitz.OnRequest(func(method, path string) blitz.Verdict {
//			blitz.SetHeader("x-hello", "from Go")
//			return blitz.Continue
//		})
//	}
//
//	func main() {}
//
// Response hooks are in package response: a module that has one makes the gateway collect response bodies.
//
// Hooks read the message in hand and note edits through the functions of this package. Nothing changes
// before a hook returns its verdict.
package blitz

import "unsafe"

// Verdict is what a hook decides.
type Verdict int32

const (
	// Continue: the edits apply to the message passing through; the next plugin runs.
	Continue Verdict = 0
	// Stop: in a request hook the edits are the answer; in a response hook the remaining ones are skipped.
	Stop Verdict = 1
	// Error: the edits are thrown away; the plugin's failure policy decides.
	Error Verdict = -1
)

var hooks struct {
	start   func() error
	request func(method, path string) Verdict
	cleanup func()
}

// OnInit sets what runs once per instance; an error is logged, and the plugin does not load.
func OnInit(hook func() error) { hooks.start = hook }

// OnRequest sets what runs for a request's head. path is the request-target, with its query.
func OnRequest(hook func(method, path string) Verdict) { hooks.request = hook }

// OnCleanup sets what runs when the instance ends in good health.
func OnCleanup(hook func()) { hooks.cleanup = hook }

// Log writes a line to the gateway's log; level is trace, debug, info, warn or error.
func Log(level, message string) { hostLog(level, message) }

// Header returns the first value of a header of the message in hand.
func Header(name string) (string, bool) {
	return read(func(buf unsafe.Pointer, size uint32) int32 { return hostGetHeader(name, buf, size) })
}

// SetHeader replaces all values of a header. A name that is no token, or a control character in the
// value, ends the call with a trap.
func SetHeader(name, value string) { hostSetHeader(name, value) }

// AddHeader adds one more value.
func AddHeader(name, value string) { hostAddHeader(name, value) }

// RemoveHeader takes away every field of that name.
func RemoveHeader(name string) { hostRemoveHeader(name) }

// SetStatus sets the status of the answer.
func SetStatus(status int) { hostSetStatus(int32(status)) }

// SetBody replaces the body.
func SetBody(body string) { hostSetBody(body) }

// SetPath replaces the request-target.
func SetPath(path string) { hostSetPath(path) }

// SetMethod replaces the method.
func SetMethod(method string) { hostSetMethod(method) }

// Body returns the body of the message in hand. A plugin that calls it makes the gateway collect request
// bodies.
func Body() (string, bool) { return read(hostGetBody) }

// Property returns client.address, request.id, request.path.canonical, route.name, config.<key>,
// header.count.<name> ...
func Property(name string) (string, bool) {
	return read(func(buf unsafe.Pointer, size uint32) int32 { return hostGetProperty(name, buf, size) })
}

// CanonicalPath returns the request's path in the one spelling that a guard may compare: decoded, with dot
// segments resolved and slashes merged, without parameters and query. Servers find /private/x behind
// /%70rivate/x, //private/x and many more. A gateway that does not know it ends the call with a trap.
func CanonicalPath() string {
	path, found := Property("request.path.canonical")
	if !found {
		panic("blitz: the gateway does not know request.path.canonical")
	}
	return path
}

// IsUnder tells whether path is the prefix, or below it. Prefix /a: /a, /a/ and /a/b are, /ab is not.
func IsUnder(path, prefix string) bool {
	if n := len(prefix); n > 0 && prefix[n-1] == '/' {
		prefix = prefix[:n-1]
	}
	n := len(prefix)
	return len(path) >= n && path[:n] == prefix && (len(path) == n || path[n] == '/')
}

// ConfigValue returns one value of the plugin's config as text; a list has one item per line.
func ConfigValue(key string) (string, bool) { return Property("config." + key) }

// Config returns the whole config: JSON for a table.
func Config() (string, bool) { return read(hostGetConfig) }

// Env returns an environment variable that the operator granted.
func Env(name string) (string, bool) {
	return read(func(buf unsafe.Pointer, size uint32) int32 { return hostGetEnv(name, buf, size) })
}

// NowMs returns milliseconds since 1970-01-01 UTC.
func NowMs() int64 { return hostNowMs() }

// RateLimit takes one token of the bucket named key, whose state is the host's. It returns the tokens
// left (>= 0), or minus the milliseconds until there is one.
func RateLimit(key string, perMinute, burst int) int {
	return int(hostRateLimit(key, int32(perMinute), int32(burst)))
}

// SleepMs waits. The gateway goes on with other exchanges meanwhile. Only in request and response hooks; what one
// call waits for all together is bounded by the plugin's wait_timeout.
func SleepMs(ms int) { hostSleepMs(int32(ms)) }

// What Fetch returns when there is no response.
const (
	FetchNotGranted = -1
	FetchLate       = -2
	FetchFailed     = -3
)

// Fetch sends a request to an upstream that the operator granted, by its name in the configuration, and waits for
// the response. headers are lines "name: value\r\n". timeoutMs 0 is as long as the plugin may wait. It returns the
// status, or one of the above; FetchHeader and FetchBody read the response, until the next one or the end of the hook.
func Fetch(upstream, method, target, headers, body string, timeoutMs int) int {
	return int(hostHTTPFetch(upstream, method, target, headers, body, int32(timeoutMs)))
}

// FetchHeader returns the first value of that field of the last response.
func FetchHeader(name string) (string, bool) {
	return read(func(buf unsafe.Pointer, size uint32) int32 { return hostFetchHeader(name, buf, size) })
}

// FetchBody returns the body of the last response.
func FetchBody() (string, bool) { return read(hostFetchBody) }

// Count adds to a counter of the plugin's own, at /metrics of the gateway. A name is letters, digits and _, with up to
// 4 labels in ascending order: hits{kind="a",where="b"}; another one traps. A plugin has at most 100 names.
func Count(name string, delta int64) { hostCount(name, delta) }

// Gauge tells a value that may rise and fall, by a name as in Count.
func Gauge(name string, value float64) { hostGauge(name, value) }

// Observe puts a value into a histogram, by a name as in Count.
func Observe(name string, value float64) { hostObserve(name, value) }

// read asks with a small buffer first, and once more if the value was longer.
func read(call func(buf unsafe.Pointer, size uint32) int32) (string, bool) {
	size := int32(128)
	for {
		buf := make([]byte, size)
		n := call(unsafe.Pointer(unsafe.SliceData(buf)), uint32(size))
		if n < 0 {
			return "", false
		}
		if n <= size {
			return unsafe.String(unsafe.SliceData(buf), n), true
		}
		size = n
	}
}
