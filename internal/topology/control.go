package topology

import (
	"slices"
	"strings"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/judge/routing"
	"github.com/roam-sessions/roam/internal/lease"
)

// Control says how the members of a deployment decide together. It is plain data. The
// zero of a quantity means the default of the room that goes by it.
type Control struct {
	Witnesses []Witness // in the order of the file
	// Dir is the folder of a member's files. It may hold {region}: see DirOf.
	Dir string
	// Lease is that of the primary; the zero where Deployment.Leases is false.
	Lease lease.Config
	// Judge has the names of all members, and is accepted by judge.New.
	Judge judge.Config
	// Alarms are accepted by alarm.New.
	Alarms []alarm.Alarm
	// Controls and Rules are accepted by routing.New.
	Controls []routing.Control
	Rules    []routing.Rule
	Webhooks []Webhook
	Tokens   []Token
	DNS      *DNS // nil: nodes answer for no names
	// Datastore is set where ElastiCache manages the servers; nil: nodes do.
	Datastore *Datastore
}

// A Witness is a member that votes and keeps no sessions.
type Witness struct {
	Name         string // no Region has it
	ID           uint64 // 16 to 31, so that no Region has it
	Control      string // host:port where it listens for members
	Advertise    string // host:port where members reach it
	API          string // host:port of the admin API
	APIAdvertise string // host:port where others reach that
}

// A Source is where a secret, or the hash of one, is kept: one of the two is set.
type Source struct {
	File string // path
	Env  string // name of the environment's variable
}

// A Webhook is told of events.
type Webhook struct {
	Name     string
	URL      string   // https, or http on loopback
	Secret   Source   // what signs them
	Kinds    []string // those that it is told of; none: all
	SNS      bool     // in the form of SNS
	TopicARN string   // then: what it says it is from
}

// The roles, as they are called in the file.
const (
	Viewer   = "viewer"   // may look
	Operator = "operator" // may change what is agreed on
)

// A Token lets somebody use the admin API.
type Token struct {
	Name   string
	Role   string // Viewer or Operator
	SHA256 Source // of the token's hash, in hex
}

// A Member is one that votes: the node of a Region, or a witness.
type Member struct {
	Name    string
	ID      uint64
	Control string // host:port where members reach it
	API     string // host:port where its admin API is reached
	Witness bool
}

// Voters returns all members: the Regions, then the witnesses, in the order of the file.
// Without a Control there are none.
func (d Deployment) Voters() []Member {
	if d.Control == nil {
		return nil
	}
	var out []Member
	for _, r := range d.Regions {
		out = append(out, Member{Name: r.Name, ID: uint64(r.ID), Control: r.Node.ControlAdvertise, API: r.Node.APIAdvertise})
	}
	for _, w := range d.Control.Witnesses {
		out = append(out, Member{Name: w.Name, ID: w.ID, Control: w.Advertise, API: w.APIAdvertise, Witness: true})
	}
	return out
}

// Leases reports whether the right to be the primary is a lease that members grant: one
// Region takes writes, on servers that replicate by themselves, and there is a Control.
func (d Deployment) Leases() bool {
	return d.Control != nil && d.Topology == ActivePassive && len(d.Regions) > 0 && d.Regions[0].Engine.Valkey != nil
}

// Witness returns the witness of a name.
func (d Deployment) Witness(name string) (Witness, bool) {
	if d.Control == nil {
		return Witness{}, false
	}
	i := slices.IndexFunc(d.Control.Witnesses, func(w Witness) bool { return w.Name == name })
	if i < 0 {
		return Witness{}, false
	}
	return d.Control.Witnesses[i], true
}

// DirOf returns the folder of the files of a member.
func (c Control) DirOf(name string) string { return strings.ReplaceAll(c.Dir, regionMark, name) }

// under returns c with each of its paths changed.
func (c Control) under(at func(path *string)) *Control {
	at(&c.Dir)
	c.Webhooks = slices.Clone(c.Webhooks)
	for i := range c.Webhooks {
		at(&c.Webhooks[i].Secret.File)
	}
	c.Tokens = slices.Clone(c.Tokens)
	for i := range c.Tokens {
		at(&c.Tokens[i].SHA256.File)
	}
	if c.DNS != nil {
		c.DNS = c.DNS.under(at)
	}
	return &c
}
