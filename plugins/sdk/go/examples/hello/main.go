package main

import blitz "blitz.example/plugin"

func init() {
	blitz.OnRequest(func(method, path string) blitz.Verdict {
		if blitz.IsUnder(blitz.CanonicalPath(), "/private") {
			blitz.SetStatus(403)
			blitz.SetBody("not for you\n")
			return blitz.Stop
		}
		blitz.SetHeader("x-hello", "from Go")
		return blitz.Continue
	})
}

func main() {}
