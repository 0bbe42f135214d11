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

	"github.com/roam-sessions/roam/internal/valkeytest"
)

// openShop runs roam shop until the test is over, and returns its address.
func openShop(t *testing.T, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out, in := io.Pipe()
	said, ended := &talk{}, make(chan int, 1)
	go func() {
		code := Run(ctx, append([]string{"shop", "--addr", "127.0.0.1:0"}, args...), in, said)
		_ = in.Close() // a pipe's end never fails to close
		ended <- code
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-ended; code != 0 {
			t.Errorf("roam shop ends with %d: %s", code, said)
		}
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("roam shop says %q: %v; %s", line, err, said)
	}
	return strings.TrimSpace(strings.TrimPrefix(line, "shop"))
}

// Two instances of a deployment's shop are one shop: who logs in at the one is known at the
// other, by the key that both have.
func TestShopOfADeployment(t *testing.T) {
	config, _ := writeConfig(t, fmt.Sprintf("version: 1\ntopology: active-active\nregions:\n  - {name: west, id: 1, engine: {valkey: {addrs: [%q]}}}\n", valkeytest.Start(t).Addr))
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte(strings.Repeat("k", leastKey)), 0o600); err != nil {
		t.Fatal(err)
	}
	of := []string{"--config", config, "--region", "west", "--key-file", key}
	here, there := openShop(t, of...), openShop(t, of...)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar} // cookies are for a host, whatever its port
	defer client.CloseIdleConnections()
	resp, err := client.PostForm(here+"/login", url.Values{"user": {"ann"}, "password": {"any"}})
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp, err = client.Get(there + "/api/session"); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), `"user":"ann"`) || !strings.Contains(string(body), `"region":"west"`) {
		t.Errorf("the other instance shows %s, %v", body, err)
	}
}
