package crdt_test

import (
	"testing"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

func TestJudgeInItsOrder(t *testing.T) {
	const idle = 30 * time.Minute
	end := start.Add(lifetime)
	live, _ := born(t, actor(1, 1), idle)
	op := login(here().Now.Stamp(), "ann")
	op.Auth.Epochs = crdt.Vector{dot(actor(1, 1), 5)}
	anns, _ := must(t, live, op, here())
	seen, missed := crdt.Vector{dot(actor(1, 1), 5)}, crdt.Vector{dot(actor(1, 1), 6)}
	noBirth, noAuth := anns, anns
	noBirth.Born, noAuth.Auth = crdt.Born{}, crdt.Auth{}
	dead := crdt.Record{Key: live.Key, Dead: true}
	for _, c := range []struct {
		name   string
		rec    crdt.Record
		now    crdt.Time
		proof  crdt.Hash
		epochs crdt.Vector
		want   crdt.Verdict
	}{
		{"live", anns, here().Now, secret(2), seen, crdt.Live},
		{"a visitor, whatever was revoked", live, here().Now, secret(1), missed, crdt.Live},
		{"nothing", crdt.Record{Key: live.Key}, here().Now, secret(1), nil, crdt.Absent},
		{"no birth yet", noBirth, here().Now, secret(2), seen, crdt.Absent},
		{"no secret yet", noAuth, here().Now, secret(2), seen, crdt.Absent},
		{"dead before all", dead, end, secret(9), missed, crdt.Ended},
		{"past the ID's deadline before absent", crdt.Record{Key: live.Key}, end, secret(2), seen, crdt.Expired},
		{"at the deadline", anns, end, secret(2), seen, crdt.Expired},
		{"idle before revoked", anns, start.Add(idle), secret(2), missed, crdt.Expired},
		{"just not idle", anns, start.Add(idle) - 1, secret(2), seen, crdt.Live},
		{"revoked before wrong secret", anns, here().Now, secret(9), missed, crdt.Revoked},
		{"revoked", anns, here().Now, secret(2), missed, crdt.Revoked},
		{"wrong secret", anns, here().Now, secret(9), seen, crdt.WrongSecret},
		{"secret from before the login", anns, here().Now, secret(1), seen, crdt.WrongSecret},
		{"no secret", anns, here().Now, crdt.Hash{}, seen, crdt.WrongSecret},
	} {
		if got := c.rec.Judge(c.now, c.proof, c.epochs); got != c.want {
			t.Errorf("%s: Judge = %v, want %v", c.name, got, c.want)
		}
	}
}

func TestAbsoluteDeadline(t *testing.T) {
	r, _ := born(t, actor(1, 1), 0)
	sooner := start.Add(time.Hour)
	r = crdt.Join(r, crdt.Record{Key: r.Key, Abs: sooner})
	if got := r.Judge(sooner-1, secret(1), nil); got != crdt.Live {
		t.Errorf("Judge before the sooner deadline = %v, want live", got)
	}
	if got := r.Judge(sooner, secret(1), nil); got != crdt.Expired {
		t.Errorf("Judge at the sooner deadline = %v, want expired", got)
	}
}

func TestGrace(t *testing.T) {
	r, _ := born(t, actor(1, 1), 0)
	until := here().Now.Add(10 * time.Second)
	rotate := crdt.Op{Stamp: here().Now.Stamp(), Auth: &crdt.Auth{Cur: secret(2), Prev: secret(1), Grace: until}}
	r, _ = must(t, r, rotate, here())
	for _, c := range []struct {
		now   crdt.Time
		proof crdt.Hash
		want  crdt.Verdict
	}{
		{until - 1, secret(1), crdt.Live},
		{until, secret(1), crdt.WrongSecret},
		{until - 1, secret(2), crdt.Live},
		{until, secret(2), crdt.Live},
		{until - 1, secret(3), crdt.WrongSecret},
	} {
		if got := r.Judge(c.now, c.proof, nil); got != c.want {
			t.Errorf("Judge of secret %d, %v before grace ends = %v, want %v", c.proof[0], until.Sub(c.now), got, c.want)
		}
	}
	// With no secret before, grace lets nobody in.
	first := birth(start, 0)
	first.Auth.Grace = until
	r, _ = must(t, crdt.Record{Key: sessionKey()}, first, crdt.Origin{Actor: actor(1, 1), Now: start})
	if got := r.Judge(start, crdt.Hash{}, nil); got != crdt.WrongSecret {
		t.Errorf("Judge of a zero hash within grace = %v, want wrong secret", got)
	}
}

// Of two rotations the later stamp wins everywhere; rotating twice to one secret
// is rotating once.
func TestRotationsMerge(t *testing.T) {
	r, _ := born(t, actor(1, 1), 0)
	s := here().Now.Stamp()
	rotate := func(s crdt.Stamp, to byte) crdt.Op {
		return crdt.Op{Stamp: s, Auth: &crdt.Auth{Cur: secret(to), Prev: secret(1), Grace: here().Now.Add(10 * time.Second)}}
	}
	one, _ := must(t, r, rotate(s, 2), crdt.Origin{Actor: actor(1, 1), Now: here().Now})
	two, _ := must(t, r, rotate(s+1, 3), crdt.Origin{Actor: actor(2, 1), Now: here().Now})
	both := crdt.Join(one, two)
	if both.Auth.Cur != secret(3) || both.Auth.Prev != secret(1) {
		t.Errorf("both rotations = %v after %v, want the later one", both.Auth.Cur, both.Auth.Prev)
	}
	again, _ := must(t, both, rotate(s, 2), crdt.Origin{Actor: actor(1, 1), Now: here().Now + 500})
	if again.Auth.Cur != both.Auth.Cur || again.Auth.Dot != both.Auth.Dot {
		t.Errorf("a late repeat of the first rotation made %v the secret, want %v", again.Auth.Cur, both.Auth.Cur)
	}
}

func TestTouch(t *testing.T) {
	const idle = 30 * time.Minute
	r, _ := born(t, actor(1, 1), idle)
	due := start.Add(idle / 10)
	if r.TouchDue(due) || !r.TouchDue(due+1) {
		t.Errorf("TouchDue at a tenth of the idle time = %v, a millisecond later %v, want false, true", r.TouchDue(due), r.TouchDue(due+1))
	}
	touched, f := must(t, r, crdt.Op{Touch: true}, crdt.Origin{Actor: actor(1, 1), Now: due + 1})
	if touched.Touch != due+1 || f.Dot.IsZero() {
		t.Errorf("touch = %v, want %v", touched.Touch, due+1)
	}
	if got := touched.Judge(start.Add(idle), secret(1), nil); got != crdt.Live {
		t.Errorf("Judge after a touch = %v, want live", got)
	}
	never, _ := born(t, actor(1, 1), 0)
	if never.TouchDue(start.Add(lifetime - 1)) {
		t.Errorf("TouchDue without an idle time = true, want false")
	}
	// An earlier touch from elsewhere does not shorten the session.
	late := crdt.Join(touched, crdt.Record{Key: r.Key, Touch: start + 1})
	if late.Touch != touched.Touch {
		t.Errorf("touch = %v after an older one, want %v", late.Touch, touched.Touch)
	}
}

// A touch by a clock that is ahead counts as one made now: it extends the
// session by the skew and no more.
func TestFastClockTouch(t *testing.T) {
	const idle = 30 * time.Minute
	r, _ := born(t, actor(1, 1), idle)
	ahead := start.Add(20 * time.Second)
	r = crdt.Join(r, crdt.Record{Key: r.Key, Touch: ahead})
	for now, want := range map[crdt.Time]crdt.Verdict{
		start: crdt.Live, ahead.Add(idle) - 1: crdt.Live, ahead.Add(idle): crdt.Expired,
	} {
		if got := r.Judge(now, secret(1), nil); got != want {
			t.Errorf("Judge %v after birth = %v, want %v", now.Sub(start), got, want)
		}
	}
	if r.TouchDue(start) {
		t.Errorf("TouchDue while the last touch is ahead = true, want false")
	}
	r.Touch = 1<<48 - 1
	if r.TouchDue(start) {
		t.Errorf("TouchDue with a touch at the end of time = true, want false")
	}
}

func TestKeepUntil(t *testing.T) {
	end := start.Add(lifetime)
	short, _ := born(t, actor(1, 1), 2*time.Minute)
	long, _ := born(t, actor(1, 1), 8*time.Hour)
	never, _ := born(t, actor(1, 1), 0)
	longer, _ := born(t, actor(1, 1), lifetime)
	for what, c := range map[string]struct {
		rec  crdt.Record
		want crdt.Time
	}{
		"short idle: a minute's slack":  {short, start.Add(3 * time.Minute)},
		"long idle: a quarter's slack":  {long, start.Add(10 * time.Hour)},
		"idle beyond the deadline":      {longer, end.Add(2 * time.Minute)},
		"no idle time":                  {never, end.Add(2 * time.Minute)},
		"a tombstone":                   {crdt.Record{Key: never.Key, Dead: true}, end.Add(2 * time.Minute)},
		"a copy that knows of no birth": {crdt.Record{Key: never.Key, Touch: start}, end.Add(2 * time.Minute)},
		"an empty user":                 {crdt.Record{Key: crdt.UserKey("ann")}, 0},
	} {
		if got, ok := c.rec.KeepUntil(); !ok || got != c.want {
			t.Errorf("%s: KeepUntil = %v, %v, want %v", what, got, ok, c.want)
		}
	}
}

func TestVerdictsHaveNames(t *testing.T) {
	for v, want := range map[crdt.Verdict]string{
		crdt.Live: "live", crdt.Absent: "absent", crdt.Ended: "ended",
		crdt.Expired: "expired", crdt.Revoked: "revoked", crdt.WrongSecret: "wrong secret",
	} {
		if got := v.String(); got != want {
			t.Errorf("Verdict %d = %q, want %q", v, got, want)
		}
	}
}
