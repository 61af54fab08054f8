// Command probe calls all there is; the tests drive it.
package main

import (
	"errors"
	"strconv"
	"unicode/utf8"

	blitz "blitz.example/plugin"
	"blitz.example/plugin/response"
)

func init() {
	blitz.OnInit(func() error {
		blitz.Log("debug", "probe starts")
		if why, ok := blitz.ConfigValue("refuse"); ok {
			return errors.New(why)
		}
		return nil
	})
	blitz.OnRequest(func(method, path string) blitz.Verdict {
		blitz.SetHeader("x-seen", method+" "+path)
		if name, ok := blitz.Env("PROBE_NAME"); ok {
			blitz.AddHeader("x-name", name)
		}
		if text, ok := blitz.Header("x-echo"); ok {
			blitz.SetHeader("x-echo-length", strconv.Itoa(len(text)))
			blitz.RemoveHeader("x-echo")
		}
		address, _ := blitz.Property("client.address")
		blitz.SetHeader("x-client", address)
		left := blitz.RateLimit("probe", 1, 2)
		if left < 0 {
			blitz.SetStatus(429)
			return blitz.Stop
		}
		blitz.SetHeader("x-left", strconv.Itoa(left))
		return blitz.Continue
	})
	response.On(func(status int, body string) blitz.Verdict {
		blitz.SetHeader("x-status", strconv.Itoa(status))
		blitz.SetHeader("x-body-chars", strconv.Itoa(utf8.RuneCountInString(body)))
		return blitz.Continue
	})
	blitz.OnCleanup(func() { blitz.Log("info", "probe ends") })
}

func main() {}
