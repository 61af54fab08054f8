// The round of tests/e2e/test_clients.py with Go's net/http: argument 1 is the URL, argument 2 the size;
// the body comes on standard input; the report goes to standard output, as JSON.
package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
)

func check(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func call(method, url string, body io.Reader, length int64) (*http.Response, []byte) {
	request, err := http.NewRequest(method, url, body)
	check(err)
	request.ContentLength = length
	request.Header.Set("X-Test", "a b")
	answer, err := http.DefaultClient.Do(request)
	check(err)
	defer answer.Body.Close()
	data, err := io.ReadAll(answer.Body)
	check(err)
	return answer, data
}

func parsed(data []byte) any {
	var value any
	check(json.Unmarshal(data, &value))
	return value
}

func main() {
	url, size := os.Args[1], os.Args[2]
	blob, err := io.ReadAll(os.Stdin)
	check(err)
	report := map[string]any{"fields": false}
	_, fields := call("GET", url+"/fields", nil, 0)
	for _, pair := range parsed(fields).([]any) {
		field := pair.([]any)
		if http.CanonicalHeaderKey(field[0].(string)) == "X-Test" && field[1] == "a b" {
			report["fields"] = true
		}
	}
	_, up := call("POST", url+"/digest", bytes.NewReader(blob), int64(len(blob)))
	report["length"] = parsed(up)
	_, up = call("PUT", url+"/digest", io.MultiReader(bytes.NewReader(blob)), -1)
	report["chunked"] = parsed(up)
	down := map[string]string{}
	for _, framing := range []string{"length", "chunked", "close"} {
		_, data := call("GET", url+"/bytes/"+size+"/"+framing, nil, 0)
		sum := sha256.Sum256(data)
		down[framing] = hex.EncodeToString(sum[:])
	}
	report["down"] = down
	head, _ := call("HEAD", url+"/bytes/"+size, nil, 0)
	report["head"] = []int64{int64(head.StatusCode), head.ContentLength}
	statuses := []int{}
	for _, status := range []int{204, 404, 500} {
		answer, _ := call("GET", url+"/status/"+strconv.Itoa(status), nil, 0)
		statuses = append(statuses, answer.StatusCode)
	}
	report["statuses"] = statuses
	check(json.NewEncoder(os.Stdout).Encode(report))
}
