package main

import (
	"strings"

	blitz "blitz.example/plugin"
)

func init() {
	blitz.OnRequest(func(method, path string) blitz.Verdict {
		if strings.HasPrefix(path, "/private/") {
			blitz.SetStatus(403)
			blitz.SetBody("not for you\n")
			return blitz.Stop
		}
		blitz.SetHeader("x-hello", "from Go")
		return blitz.Continue
	})
}

func main() {}
