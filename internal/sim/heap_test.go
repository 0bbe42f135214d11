package sim

import "testing"

func TestQueueEndsAtMost(t *testing.T) {
	q := &queue{most: 10}
	var again func()
	again = func() { q.at(q.now, again) } // for ever, at one instant
	again()
	q.until(1)
	if q.run != 10 || !q.full() {
		t.Errorf("%d events ran, full %v; want 10, true", q.run, q.full())
	}
}
