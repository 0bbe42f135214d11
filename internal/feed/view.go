package feed

import (
	"errors"
	"fmt"
	"slices"
)

const (
	// MaxBytes bounds a line of the stream, and so a View as it is encoded.
	MaxBytes = 2 << 20
	// maxEpoch is the last epoch there is: what a server compares has six bytes.
	maxEpoch = 1<<48 - 1
	// maxAway bounds the Regions that users should leave: there are no more Regions.
	maxAway = 15
	// maxName bounds a name: it may be a label of DNS.
	maxName = 63
)

// ErrView says that something is no View, or none that Roam would make.
var ErrView = errors.New("not a view of a deployment")

// A View is what the control plane has agreed on, as far as those who serve sessions
// need it. It is plain data. Names are those of roam.yaml.
type View struct {
	// Deployment is the name of the deployment. Required: a View without it is none.
	Deployment string
	// Index grows with every change of what has been agreed on.
	Index uint64
	// Epoch is that of the lease, by which Primary writes. 0: there is no lease.
	Epoch uint64
	// Primary is the Region that takes all writes; "": every Region does.
	Primary string
	// Next is the Region that a planned switchover leads to, under NextEpoch, which is
	// above Epoch; "": none is planned. It may take writes already.
	Next      string
	NextEpoch uint64
	// Away are the Regions that users should leave. At most 15.
	Away []string
	// Version is that of roam.yaml; 0: none was agreed on, each one has its own.
	Version uint64
	// File is its text; "": as before, of that Version.
	File string
}

// Newer reports whether v was agreed on after than: by its epoch, then by its index. Views
// of two deployments can't be compared.
func (v View) Newer(than View) bool {
	if v.Epoch != than.Epoch {
		return v.Epoch > than.Epoch
	}
	return v.Index > than.Index
}

// Check returns all that is wrong with v, as an error that wraps ErrView.
func (v View) Check() error {
	var faults []error
	fault := func(is bool, format string, args ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(!isName(v.Deployment), "deployment %.80q", v.Deployment)
	fault(v.Primary != "" && !isName(v.Primary), "primary %.80q", v.Primary)
	fault(v.Next != "" && !isName(v.Next), "next %.80q", v.Next)
	fault(v.Epoch > maxEpoch || v.NextEpoch > maxEpoch, "epochs %d and %d: at most %d", v.Epoch, v.NextEpoch, uint64(maxEpoch))
	fault(v.Epoch > 0 && v.Primary == "", "epoch %d of nobody", v.Epoch)
	fault((v.Next == "") != (v.NextEpoch == 0), "next %.80q under epoch %d", v.Next, v.NextEpoch)
	fault(v.Next != "" && (v.NextEpoch <= v.Epoch || v.Next == v.Primary || v.Epoch == 0),
		"next %.80q under epoch %d after %.80q under %d", v.Next, v.NextEpoch, v.Primary, v.Epoch)
	fault(len(v.Away) > maxAway, "%d Regions away: at most %d", len(v.Away), maxAway)
	for i, name := range v.Away[:min(len(v.Away), maxAway)] {
		fault(!isName(name) || slices.Contains(v.Away[:i], name), "away %.80q", name)
	}
	fault(v.File != "" && v.Version == 0, "file of %d bytes without a version", len(v.File))
	fault(len(v.File) > MaxBytes, "file of %d bytes", len(v.File))
	if len(faults) > 0 {
		return fmt.Errorf("%w: %w", ErrView, errors.Join(faults...))
	}
	return nil
}

// isName reports whether s can be the name of a Region or a deployment, as package
// topology says.
func isName(s string) bool {
	for i, c := range []byte(s) {
		inner := i > 0 && i < len(s)-1
		if (c < 'a' || c > 'z') && (c < '0' || c > '9') && (c != '-' || !inner) {
			return false
		}
	}
	return s != "" && len(s) <= maxName
}

// after returns v as it is known to who had was: with the file that v leaves as it is.
func (v View) after(was View) View {
	if v.File == "" && v.Version == was.Version {
		v.File = was.File
	}
	return v
}
