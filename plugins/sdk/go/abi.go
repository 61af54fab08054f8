//go:build wasip1

package blitz

import "unsafe"

// The imports as the ABI "blitz/1" spells them: a Go string goes out as pointer and length.

//go:wasmimport blitz log
func hostLog(level, message string)

//go:wasmimport blitz get_env
func hostGetEnv(name string, buf unsafe.Pointer, size uint32) int32

//go:wasmimport blitz get_header
func hostGetHeader(name string, buf unsafe.Pointer, size uint32) int32

//go:wasmimport blitz set_header
func hostSetHeader(name, value string)

//go:wasmimport blitz add_header
func hostAddHeader(name, value string)

//go:wasmimport blitz remove_header
func hostRemoveHeader(name string)

//go:wasmimport blitz get_body
func hostGetBody(buf unsafe.Pointer, size uint32) int32

//go:wasmimport blitz set_body
func hostSetBody(body string)

//go:wasmimport blitz set_status
func hostSetStatus(status int32)

//go:wasmimport blitz set_path
func hostSetPath(path string)

//go:wasmimport blitz set_method
func hostSetMethod(method string)

//go:wasmimport blitz get_property
func hostGetProperty(name string, buf unsafe.Pointer, size uint32) int32

//go:wasmimport blitz get_config
func hostGetConfig(buf unsafe.Pointer, size uint32) int32

//go:wasmimport blitz now_ms
func hostNowMs() int64

//go:wasmimport blitz rate_limit
func hostRateLimit(key string, perMinute, burst int32) int32

//go:wasmimport blitz sleep_ms
func hostSleepMs(ms int32)

//go:wasmimport blitz http_fetch
func hostHTTPFetch(upstream, method, target, headers, body string, timeoutMs int32) int32

//go:wasmimport blitz fetch_header
func hostFetchHeader(name string, buf unsafe.Pointer, size uint32) int32

//go:wasmimport blitz fetch_body
func hostFetchBody(buf unsafe.Pointer, size uint32) int32

//go:wasmimport blitz count
func hostCount(name string, delta int64)

//go:wasmimport blitz gauge
func hostGauge(name string, value float64)

//go:wasmimport blitz observe
func hostObserve(name string, value float64)

// Arguments are written here: room for a method and a 64 KiB path. Larger ones, bodies, go through alloc.
var buffer [64*1024 + 256]byte

// What alloc handed out: the collector must not take it before the host gives it back.
var lent = map[unsafe.Pointer][]byte{}

//go:wasmexport blitz_buffer
func exportBuffer() unsafe.Pointer { return unsafe.Pointer(&buffer) }

//go:wasmexport blitz_buffer_size
func exportBufferSize() uint32 { return uint32(len(buffer)) }

//go:wasmexport blitz_alloc
func exportAlloc(size uint32) unsafe.Pointer {
	bytes := make([]byte, max(size, 1))
	ptr := unsafe.Pointer(unsafe.SliceData(bytes))
	lent[ptr] = bytes
	return ptr
}

//go:wasmexport blitz_free
func exportFree(ptr unsafe.Pointer, _ uint32) { delete(lent, ptr) }

// Borrow is for this module's own packages. It copies: a hook may keep what it was given, and the host
// writes into the buffer again.
func Borrow(ptr unsafe.Pointer, size uint32) string {
	return string(unsafe.Slice((*byte)(ptr), size))
}

//go:wasmexport init
func exportInit() int32 {
	if hooks.start == nil {
		return 0
	}
	if err := hooks.start(); err != nil {
		Log("error", err.Error())
		return -1
	}
	return 0
}

//go:wasmexport process_request
func exportRequest(method unsafe.Pointer, methodSize uint32, path unsafe.Pointer, pathSize uint32) int32 {
	if hooks.request == nil {
		return int32(Continue)
	}
	return int32(hooks.request(Borrow(method, methodSize), Borrow(path, pathSize)))
}

//go:wasmexport cleanup
func exportCleanup() int32 {
	if hooks.cleanup != nil {
		hooks.cleanup()
	}
	return 0
}
