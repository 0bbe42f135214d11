package control

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/roam-sessions/roam/internal/lease"
)

// What a member has consented to is known after a restart, and a broken file is not taken
// for none.
func TestConsentOutlivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "voter.json")
	c := lease.Config{}.WithDefaults()
	free := lease.Time(c.Wait())
	v, err := openVoting(path, c, 0)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := v.consent(3, 0); ok || err != nil {
		t.Errorf("consent at the start = %v, %v, want it to wait", ok, err)
	}
	if ok, err := v.consent(3, free); !ok || err != nil {
		t.Fatalf("consent when free = %v, %v", ok, err)
	}
	if v, err = openVoting(path, c, 0); err != nil {
		t.Fatal(err)
	}
	if v.vouch(2, 2, free) {
		t.Error("after a restart it gives its word to an epoch before the one that it consented to")
	}
	if !v.vouch(3, 3, free) {
		t.Error("after a restart it gives its word to nobody")
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := openVoting(path, c, 0); !errors.Is(err, ErrAmnesia) {
		t.Errorf("a broken file: %v, want ErrAmnesia", err)
	}
}
