//go:build integration

package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/roam-sessions/roam/internal/dynalitetest"
)

// startShop runs a shop until the test is over, and returns where it is.
func startShop(t *testing.T, flags ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	said := &talk{}
	ended := make(chan int, 1)
	go func() {
		code := Run(ctx, append([]string{"shop", "--addr", "127.0.0.1:0"}, flags...), in, said)
		_ = in.Close() // a pipe's end never fails to close
		ended <- code
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != exitOK {
			t.Errorf("roam shop ended with %d, and said: %s", code, said)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("roam shop printed %q: %v; it said: %s", line, err, said)
	}
	go func() { _, _ = io.Copy(io.Discard, out) }() // until it is closed
	return strings.Fields(line)[1]
}

// Shops in two Regions of a deployment share their sessions.
func TestShopsOfADeployment(t *testing.T) {
	dynalitetest.Sign(t)
	s := dynalitetest.Start(t, "")
	s.Table("sessions")
	dir := t.TempDir()
	file, key := filepath.Join(dir, "roam.yaml"), filepath.Join(dir, "cookie.key")
	text := fmt.Sprintf(`
version: 1
topology: active-active
regions:
  - {name: west, id: 1, engine: {dynamo: {table: sessions, aws_region: us-west-2, endpoint: %q}}, node: {http: "127.0.0.1:1"}}
  - {name: east, id: 2, engine: {dynamo: {table: sessions, aws_region: us-east-1, endpoint: %q}}, node: {http: "127.0.0.1:2"}}
`, s.Endpoint(), s.Endpoint())
	for path, content := range map[string]string{file: text, key: strings.Repeat("k", 32)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	at := func(region string) string {
		return startShop(t, "--config", file, "--region", region, "--key-file", key)
	}
	west, east := at("west"), at("east")
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	t.Cleanup(browser.CloseIdleConnections)
	ask := func(res *http.Response, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = res.Body.Close() }() // it was read only
		b, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s answers %s, %v: %s", res.Request.URL, res.Status, err, b)
		}
		return string(b)
	}
	ask(browser.PostForm(west+"/login", url.Values{"user": {"ann"}, "password": {"x"}}))
	if body := ask(browser.Get(east + "/api/session")); !strings.Contains(body, `"ann"`) || !strings.Contains(body, `"east"`) {
		t.Errorf("east, after a login in west, says %s", body)
	}
	ask(browser.PostForm(east+"/logout", nil))
	if body := ask(browser.Get(west + "/api/session")); strings.Contains(body, `"ann"`) {
		t.Errorf("west, after a logout in east, says %s", body)
	}
}
