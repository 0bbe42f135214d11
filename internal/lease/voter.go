package lease

import "time"

// A Voter is a member's part. Consented must be on its disk before an answer leaves.
type Voter struct {
	config Config
	// Consented is the newest epoch that it has consented to.
	consented uint64
	free      Time // until then it is bound by words that it gave, or may have given
}

// NewVoter returns the voter of a member that starts now. Words that it gave before a
// restart are forgotten, so it keeps all of them: it waits.
func NewVoter(c Config, consented uint64, now Time) *Voter {
	return &Voter{config: c, consented: consented, free: now.Add(c.Wait())}
}

// Consented returns the newest epoch that it has consented to.
func (v *Voter) Consented() uint64 { return v.consented }

// Vouch reports whether the holder of an epoch, which can't reach the quorum, has this
// member's word that nobody else will have the lease for TTL and Guard from now on. known
// is the newest epoch that this member knows to have been granted, or that must come
// next, since the one before was released.
func (v *Voter) Vouch(epoch, known uint64, now Time) bool {
	if epoch < known || epoch < v.consented || epoch == 0 {
		return false
	}
	v.free = max(v.free, now.Add(v.config.Wait()))
	return true
}

// Consent reports whether the next epoch may be granted as far as this member goes, and
// else how long to wait. Then it vouches for no earlier one any more.
func (v *Voter) Consent(epoch uint64, now Time) (wait time.Duration, ok bool) {
	if now < v.free {
		return v.free.Sub(now), false
	}
	v.consented = max(v.consented, epoch)
	return 0, true
}
