package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"
)

// background runs a command until the test is over, and returns what it prints.
func background(t *testing.T, args ...string) (out *bufio.Reader, end func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	read, write := io.Pipe()
	ended := make(chan int, 1)
	go func() {
		code := Run(ctx, args, write, io.Discard)
		_ = write.Close() // a pipe's end never fails to close
		ended <- code
	}()
	end = func() int {
		cancel()
		code := <-ended
		ended <- code
		return code
	}
	t.Cleanup(func() { end() })
	return bufio.NewReader(read), end
}

func TestFakeawsPrintsJSON(t *testing.T) {
	out, end := background(t, "fakeaws", "--json", "--regions", "eu-west-1")
	var said struct {
		Front, Admin, DNS, Key, Secret string
		Endpoints                      []struct{ Service, Region, URL string }
	}
	if err := json.NewDecoder(out).Decode(&said); err != nil {
		t.Fatal(err)
	}
	resp, err := http.Get(said.Admin)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	var about struct{ Front string }
	if err := json.NewDecoder(resp.Body).Decode(&about); err != nil || about.Front != said.Front {
		t.Errorf("the admin endpoint says %+v, %v, want %s", about, err, said.Front)
	}
	_ = resp.Body.Close()
	if said.Key == "" || len(said.Secret) < 20 || len(said.Endpoints) != 11 || said.DNS == "" {
		t.Errorf("it says %+v", said)
	}
	if code := end(); code != exitOK {
		t.Errorf("interrupted, it ended with %d", code)
	}
}

// What it prints is good for a shell.
func TestFakeawsPrintsExports(t *testing.T) {
	out, _ := background(t, "fakeaws")
	for _, want := range []string{"export AWS_ENDPOINT_URL=http://127.0.0.1:", "export AWS_ACCESS_KEY_ID=AKIA", "export AWS_SECRET_ACCESS_KEY=", "\n", "admin ", "dns ", "elasticache "} {
		line, err := out.ReadString('\n')
		if err != nil || !strings.HasPrefix(line, want) {
			t.Errorf("it prints %q, %v, want %q", line, err, want)
		}
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // so that it can go on
}
