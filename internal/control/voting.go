package control

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/roam-sessions/roam/internal/durable"
	"github.com/roam-sessions/roam/internal/lease"
)

// A voting is a member's voter, with its file: {"v":1,"consented":7}.
type voting struct {
	path string

	mu    sync.Mutex // guards what follows
	voter *lease.Voter
	saved uint64
}

type voterFile struct {
	V         int    `json:"v"`
	Consented uint64 `json:"consented"`
}

// openVoting reads what a member has consented to. No file: to nothing. One that is broken
// is an error: what it says must not be forgotten.
func openVoting(path string, c lease.Config, now lease.Time) (*voting, error) {
	var f voterFile
	b, err := os.ReadFile(path) //nolint:gosec // its own
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("what this member has consented to: %w", err)
	default:
		if err := json.Unmarshal(b, &f); err != nil || f.V != 1 {
			return nil, fmt.Errorf("what this member has consented to: %s is broken: %w", path, errors.Join(err, ErrAmnesia))
		}
	}
	return &voting{path: path, voter: lease.NewVoter(c, f.Consented, now), saved: f.Consented}, nil
}

// consent asks for consent to an epoch. It is on the disk before it is given.
func (v *voting) consent(epoch uint64, now lease.Time) (bool, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, ok := v.voter.Consent(epoch, now); !ok {
		return false, nil
	}
	if consented := v.voter.Consented(); consented != v.saved {
		if err := v.save(consented); err != nil {
			return false, err
		}
		v.saved = consented
	}
	return true, nil
}

// vouch asks for the word of this member.
func (v *voting) vouch(epoch, known uint64, now lease.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.voter.Vouch(epoch, known, now)
}

// save writes the file anew, and returns when it is on the disk.
func (v *voting) save(consented uint64) error {
	b, err := json.Marshal(voterFile{1, consented})
	if err != nil {
		return err
	}
	if err := durable.Replace(v.path, b); err != nil {
		return fmt.Errorf("keep a consent: %w", err)
	}
	return nil
}
