package replica

import "fmt"

// comparing is the peer's part of an exchange. The Digests wait for what arrived
// before them, so that less differs that is only on its way; nothing waits for
// them, since a scan takes longer than a batch.
type comparing struct {
	serial uint64 // of the newest that arrived
	next   *work  // the newest that is ready
	on     *work  // the one that is being done
}

// compare takes in what the origin has.
func (r *Receiver) compare(f Digests, size int) error {
	if f.Serial <= r.digests.serial {
		return nil // came twice
	}
	r.digests.serial = f.Serial
	return r.queue(&r.work, work{Work: Work{Digests: &f}, size: size})
}

// nextDigests returns the Digests that are to be compared now, if any are. Where
// the origin has sent newer ones, it has given up the older.
func (r *Receiver) nextDigests() (*Digests, bool) {
	d := &r.digests
	for len(r.work) > 0 && r.work[0].Digests != nil { // work that is being done stands first, too
		w := r.work[0]
		if d.next != nil {
			r.held -= d.next.size
		}
		d.next, r.work = &w, r.work[1:]
	}
	if d.next == nil || d.on != nil {
		return nil, false
	}
	d.on, d.next = d.next, nil
	return d.on.Digests, true
}

// Compared takes in what the engine here has of the partitions of the last
// Digests that Work returned, as Digests.Folds; of a failed scan only err counts,
// which ends the link.
func (r *Receiver) Compared(folds []Fold, err error) error {
	d := r.digests.on
	r.digests.on = nil
	r.held -= d.size
	if err != nil {
		return fmt.Errorf("compare with Region %d: %w", r.origin, err)
	}
	f := Differs{Serial: d.Digests.Serial}
	for i, p := range d.Digests.Parts {
		r.counts.Compared++
		if found := p.differing(&folds[i]); len(found) > 0 {
			r.counts.Differed += uint64(len(found))
			f.Parts = append(f.Parts, PartDiffers{p.Partition, found})
		}
	}
	r.send(f)
	return nil
}
