package deployment_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/deployment"
)

// One Region, kept in this process. With a server in each Region the file says more, and
// the program stays as it is.
//
//nolint:errcheck,gocritic // an example shows what matters
func Example() {
	path := filepath.Join(os.TempDir(), "roam-example.yaml")
	defer os.Remove(path)
	os.WriteFile(path, []byte(`
version: 1
topology: active-active
regions:
  - name: eu-west-1
    id: 1
    engine:
      memory: {}
policies:
  read_after_write: retry
`), 0o600)

	ctx := context.Background()
	d, err := deployment.Open(ctx, path, "eu-west-1", deployment.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer d.Close()
	store, err := roam.Open(ctx, d.Config())
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	key := make([]byte, 32) // the same in every Region, from wherever secrets are kept
	rand.Read(key)
	sessions, err := roam.NewManager(store, key, roam.Options{})
	if err != nil {
		log.Fatal(err)
	}
	const visits roam.Counter = "visits"
	app := sessions.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s := roam.FromContext(r.Context())
		visits.Add(s, 1)
		fmt.Fprintln(w, "visit", visits.Get(s))
	}))

	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for range 2 {
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		fmt.Print(w.Body)
		for _, c := range w.Result().Cookies() {
			r.AddCookie(c)
		}
	}
	// Output:
	// visit 1
	// visit 2
}
