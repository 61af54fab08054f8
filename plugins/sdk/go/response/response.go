//go:build wasip1

// Package response gives a plugin a response hook. It is a package of its own because the export alone
// makes the gateway collect response bodies, unless the manifest says response_body = "none".
package response

import (
	"unsafe"

	blitz "blitz.example/plugin"
)

var hook func(status int, body string) blitz.Verdict

// On sets what runs for a response's head. body is empty with response_body = "none" in the manifest.
func On(run func(status int, body string) blitz.Verdict) { hook = run }

//go:wasmexport process_response
func exportResponse(status int32, body unsafe.Pointer, size uint32) int32 {
	if hook == nil {
		return int32(blitz.Continue)
	}
	return int32(hook(int(status), blitz.Borrow(body, size)))
}
