package sidebyside

import "fmt"

// A Kind is what is measured in the same way, once or with several numbers of clients.
type Kind struct {
	// Name is the beginning of its rows' names.
	Name string
	// Ours and Base say what is done, as the page has it.
	Ours, Base string
	// Unit is "/s", "µs", "B" or "ms".
	Unit string
	// Target is what the ratio should be: value by baseline.
	Target float64
	// Most: the ratio should be Target at most; else at least.
	Most bool
	// Cases are the ends of its rows' names. None: there is one row, named as the Kind.
	Cases []string
}

// Rows returns the names of the figures.
func (k Kind) Rows() []string {
	if len(k.Cases) == 0 {
		return []string{k.Name}
	}
	var out []string
	for _, c := range k.Cases {
		out = append(out, k.Name+", "+c)
	}
	return out
}

// Clients names the case of so many goroutines that call at a time.
func Clients(n int) string {
	if n == 1 {
		return "1 client"
	}
	return fmt.Sprintf("%d clients", n)
}

// A Group is a part of the page.
type Group struct {
	Title string
	// About says what all of its figures have in common.
	About string
	Kinds []Kind
}

// Groups returns all that is measured, in the order of the table.
func Groups() []Group {
	return []Group{
		{
			Title: "Pages",
			About: "One `http.Handler`, called in process with the cookies of 1,000 visitors who are logged in, once behind " +
				"`roam.Manager` over `engine/valkey`, once behind scs with goredisstore and go-redis, all as they come but for Roam's " +
				"timeouts, which are longer. " +
				"A session has eight fields of 50 bytes.",
			Kinds: pages(),
		},
		{
			Title: "Calls",
			About: "`engine/valkey` beside plain commands sent with valkey-go, the client that it uses itself, set up as there. " +
				"Sessions have eight fields of 50 bytes; strings have as many bytes.",
			Kinds: calls(),
		},
		{
			Title: "Sizes",
			About: "The same sessions.",
			Kinds: sizes(),
		},
		{
			Title: "Regions",
			About: "Two Regions, each with a server of its own, and a link of 35 ms one way between their replicas. The delay is " +
				"from a write's answer in one Region until the engine of the other one has merged it; that of every write counts. " +
				"Writers, replicas, the link and both servers share the machine.",
			Kinds: regions(),
		},
	}
}

// Rows returns the names of all figures that a run must have, in order.
func Rows() []string {
	var out []string
	for _, g := range Groups() {
		for _, k := range g.Kinds {
			out = append(out, k.Rows()...)
		}
	}
	return out
}

// clients are how many goroutines call at a time: nobody waits, some, many.
func clients() []string { return []string{Clients(1), Clients(16), Clients(256)} }

// The names of what is measured.
const (
	PageReads  = "page that reads"
	PageNear   = "page that reads, near"
	PageIdle   = "page that reads, idle"
	PageWrites = "page that writes"
	PageLogsIn = "login"

	Read     = "read of a session"
	ReadNear = "near read"
	Put      = "put"
	PutRate  = "put, rate"
	PutPool  = "put, 50 connections"
	Merge    = "fragments merged"

	ReadOfMany  = "read of one of many"
	PlainOfMany = "plain hash of one of many"
	Memory      = "memory of a session"

	Delay = "delay"
)

// pages have no targets in the design: who comes from scs should not be slower.
func pages() []Kind {
	kind := func(name, ours, base string, cases ...string) Kind {
		return Kind{Name: name, Ours: ours, Base: base, Unit: "/s", Target: 1, Cases: cases}
	}
	return []Kind{
		kind(PageReads, "shows two fields; Roam reads the session, and its user for revocations", "the same with scs: a GET", clients()...),
		kind(PageNear, "the same with 64 MiB of `NearBytes`", "the same with scs: a GET", clients()...),
		kind(PageIdle, "shows two fields; sessions end when they are idle, as they do in Roam by default",
			"the same with scs and its `IdleTimeout`: a GET and a SET", Clients(16)),
		kind(PageWrites, "sets one field: a read and a write of that field", "the same with scs: a GET, and a SET of all", clients()...),
		kind(PageLogsIn, "a new visitor logs in and has eight fields set: a read of the user, a write of the user's list of sessions and one of the session",
			"the same with scs, which knows of no users: a SET", clients()...),
	}
}

// calls have the targets of DESIGN section 13.
func calls() []Kind {
	return []Kind{
		{Name: Read, Ours: "`Engine.Read`", Base: "HGETALL of the same fields", Unit: "µs", Target: 1.10, Most: true, Cases: clients()},
		{Name: ReadNear, Ours: "`Engine.Read` of what is near", Base: "GET of a string", Unit: "/s", Target: 8, Cases: clients()},
		{Name: Put, Ours: "`Engine.Apply` of one field: merged and logged", Base: "SET … EX of the whole session", Unit: "µs", Target: 2.5, Most: true, Cases: []string{Clients(1)}},
		{Name: PutRate, Ours: "the same", Base: "the same, pipelined as the engine does it", Unit: "/s", Target: 0.45, Cases: []string{Clients(16), Clients(256)}},
		{Name: PutPool, Ours: "the same, of 50 clients", Base: "SET … EX on 50 connections, as pools have them", Unit: "/s", Target: 0.45},
		{Name: Merge, Ours: "`Engine.Ingest` of batches of 128 writes of one field, from one link", Base: "100,000 a second", Unit: "/s", Target: 1},
	}
}

func sizes() []Kind {
	return []Kind{
		{Name: ReadOfMany, Ours: "`Engine.Read` at random from as many sessions as there are, 16 clients", Base: "the same from 10,000", Unit: "/s", Target: 0.90},
		{Name: PlainOfMany, Ours: "no part of Roam: HGETALL of as many plain hashes, to tell what is the server's and the machine's", Base: "the same of 10,000", Unit: "/s", Target: 0.90},
		{Name: Memory, Ours: "what a session takes of the server's memory", Base: "what SET … EX of a string of names and values takes", Unit: "B", Target: 1.35, Most: true},
	}
}

const (
	// OneWay is how long a message takes between the Regions, in milliseconds.
	OneWay = 35
	// overAtMedian and overAt99 are by how many milliseconds a write may be later:
	// DESIGN section 13, which means 5,000 writes a second.
	overAtMedian, overAt99 = 3, 10
)

// Rates returns how many writes a second are replicated: few, as many as the design
// asks for, and more.
func Rates() []int { return []int{500, 5_000, 8_000} }

// DelayAt returns the names of the two figures of a rate.
func DelayAt(rate int) (median, p99 string) {
	return Delay + " p50, " + perSecond(rate), Delay + " p99, " + perSecond(rate)
}

func perSecond(rate int) string { return group(float64(rate)) + " writes/s" }

func regions() []Kind {
	var cases []string
	for _, r := range Rates() {
		cases = append(cases, perSecond(r))
	}
	kind := func(name string, over float64) Kind {
		return Kind{
			Name: Delay + " " + name, Ours: "the " + name + " of the delays", Base: "the link's own delay",
			Unit: "ms", Target: (OneWay + over) / OneWay, Most: true, Cases: cases,
		}
	}
	return []Kind{kind("p50", overAtMedian), kind("p99", overAt99)}
}
