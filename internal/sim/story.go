package sim

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/roam-sessions/roam/crdt"
)

// An Act is something that happens to a deployment from outside.
type Act uint8

// The acts: what browsers ask for, then what goes wrong.
const (
	Visit Act = iota
	Put
	Add
	Mark
	Unmark
	Login
	Renew
	Logout
	RevokeAll // log out everywhere
	Plant     // an attacker's cookie gets into the browser
	Attack    // the attacker uses the cookie that was planted, or stolen
	Steal     // the attacker copies the browser's cookies

	Cut      // one way
	CutBoth  // both ways
	Isolate  // a Region from all others, both ways
	Flap     // both ways, on and off
	FailOver // to a copy that lags
	Forget   // the engine loses everything
	FailSide // the side store fails over
	Hang     // the engine stands still
	Jump     // the server's clock jumps ahead
	Restart  // the app's servers lose what they had in memory
	acts
)

// String returns the act's name.
func (a Act) String() string {
	return [...]string{
		"visit", "put", "add", "mark", "unmark", "login", "renew", "log out", "log out everywhere", "plant", "attack", "steal",
		"cut", "cut both ways", "isolate", "flap", "fail over", "forget all", "side store fails over", "hang", "clock jumps", "restart",
	}[a]
}

// isFault reports whether a is something that goes wrong.
func (a Act) isFault() bool { return a >= Cut }

// An Action is one line of a Story.
type Action struct {
	At      time.Duration
	Do      Act
	Browser int
	Region  crdt.Region
	Peer    crdt.Region
	Strict  bool
	For     time.Duration
	Arg     uint64
	Serial  int // its number in the whole story; it stays when others are dropped
}

// String tells the action to a reader.
func (a Action) String() string {
	at := fmt.Sprintf("%8.3fs  ", a.At.Seconds())
	if a.Do.isFault() {
		s := at + fmt.Sprintf("%v Region %d", a.Do, a.Region)
		if a.Peer != 0 {
			s += fmt.Sprintf(" and %d", a.Peer)
		}
		if a.For > 0 {
			s += fmt.Sprintf(" for %v", a.For.Round(time.Millisecond))
		}
		return s
	}
	s := at + fmt.Sprintf("browser %d in Region %d: %v", a.Browser, a.Region, a.Do)
	if a.Strict {
		s += " (strict)"
	}
	return s
}

// A Story is all that happens to a deployment from outside, in order of time.
type Story []Action

// eventful is how long browsers ask and things go wrong.
const eventful = 300 * time.Second

// tell makes the story of a seed: the faults that this run knows, and browsers
// that wander.
func tell(dice *rand.Rand, regions, browsers int, primary crdt.Region) Story {
	s := teller{dice: dice, regions: regions, primary: primary, kinds: map[Act]bool{}}
	for a := Cut; a < acts; a++ {
		s.kinds[a] = dice.IntN(3) > 0
	}
	if dice.IntN(3) > 0 { // rare, since it ends most else that could be seen
		s.kinds[Forget] = false
	}
	var out Story
	for b := range browsers {
		out = append(out, s.browser(b)...)
	}
	out = append(out, s.faults()...)
	out = append(out, s.finale()...)
	sortStory(out)
	for i := range out {
		out[i].Serial = i + 1
	}
	return out
}

type teller struct {
	dice    *rand.Rand
	regions int
	primary crdt.Region
	kinds   map[Act]bool
}

func (s *teller) region() crdt.Region { return crdt.Region(1 + s.dice.IntN(s.regions)) } //nolint:gosec // a handful

// browser wanders between Regions and asks for things, in bursts.
func (s *teller) browser(id int) Story {
	var out Story
	at, region := s.dice.Int64N(int64(10*time.Second)), s.region()
	for at < int64(eventful) {
		if s.dice.IntN(4) == 0 {
			region = s.region()
		}
		out = append(out, Action{
			At: time.Duration(at), Do: s.wants(), Browser: id, Region: region,
			Strict: s.dice.IntN(8) == 0, Arg: s.dice.Uint64() >> 1,
		})
		if s.dice.IntN(3) > 0 { // at once: another click, another tab
			at += s.dice.Int64N(int64(2 * time.Second))
			continue
		}
		at += s.dice.Int64N(int64(20 * time.Second))
	}
	return out
}

// wants draws what a browser asks for.
func (s *teller) wants() Act {
	weights := []struct {
		act    Act
		weight int
	}{
		{Visit, 30},
		{Put, 25},
		{Add, 8},
		{Mark, 6},
		{Unmark, 4},
		{Login, 12},
		{Renew, 6},
		{Logout, 3},
		{RevokeAll, 2},
		{Plant, 1},
		{Attack, 2},
		{Steal, 1},
	}
	n := s.dice.IntN(100)
	for _, w := range weights {
		if n -= w.weight; n < 0 {
			return w.act
		}
	}
	return Visit
}

// faults draws what goes wrong: about one thing in 12 s, for up to a minute.
func (s *teller) faults() Story {
	var out Story
	for at := time.Duration(0); ; {
		at += time.Duration(s.dice.Int64N(int64(24 * time.Second)))
		if at > eventful-10*time.Second {
			return out
		}
		a := Action{At: at, Do: Cut + Act(s.dice.IntN(int(acts-Cut))), Region: s.region(), Arg: s.dice.Uint64() >> 1}
		if !s.kinds[a.Do] {
			continue
		}
		a.For = time.Duration(s.dice.Int64N(int64(time.Second) << s.dice.IntN(7))) // up to 64 s, mostly less
		switch a.Do {
		case Cut, CutBoth, Flap:
			for a.Peer = s.region(); a.Peer == a.Region; {
				a.Peer = s.region()
			}
		case FailOver, FailSide, Forget, Restart:
			a.For = min(a.For, 5*time.Second)
		case Hang:
			a.For = min(a.For, 10*time.Second)
		case Jump:
			a.For = min(a.For, 10*time.Second)
		default:
		}
		a.For = min(a.For, eventful-at)
		out = append(out, a)
	}
}

// finale returns how some runs with a primary end: its Region is alone and its
// engine stands still, so that what is written there is kept beside it; the engine
// comes back, is given that, and fails over before its copy or another Region has
// it all. Nothing is written later that would make up for it.
func (s *teller) finale() Story {
	if s.primary == 0 || !s.kinds[Hang] || !s.kinds[FailOver] {
		return nil
	}
	long := 5*time.Second + time.Duration(s.dice.Int64N(int64(10*time.Second)))
	short := time.Duration(s.dice.Int64N(int64(1500 * time.Millisecond)))
	again := eventful - 2*time.Second
	return Story{
		{At: again - short - long, Do: Isolate, Region: s.primary, For: short + long},
		{At: again - short - long, Do: Hang, Region: s.primary, For: long},
		{At: again, Do: FailOver, Region: s.primary, For: time.Second},
	}
}

// sortStory sorts by time; of one time, in the order in which it was told.
func sortStory(s Story) {
	slices.SortStableFunc(s, func(a, b Action) int { return cmp.Compare(a.At, b.At) })
}
