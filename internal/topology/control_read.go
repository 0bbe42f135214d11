package topology

import (
	"errors"
	"fmt"
	"math"
	"net/url"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/lease"
)

const (
	// maxWitnesses: more than three make no majority safer.
	maxWitnesses = 3
	// The numbers of witnesses are those that no Region can have.
	leastWitness = 16
	mostWitness  = 31
	// Each webhook has a queue of its own, and each event goes to all of them.
	maxWebhooks = 16
	maxKinds    = 64
	maxTokens   = 64
	// defaultDir is seen from the folder of the file, as all paths.
	defaultDir = "data/" + regionMark
)

// control reads the section of that name. The Regions of d are read already.
func (p *parser) control(c cursor, d *Deployment) *Control {
	f := c.fields("witnesses", "dir", "lease", "judge", "alarms", "routing", "webhooks", "tokens", "dns", "datastore")
	out := &Control{Dir: defaultDir}
	for _, w := range f["witnesses"].items(maxWitnesses) {
		out.Witnesses = append(out.Witnesses, p.witness(w))
	}
	if f["dir"].there() {
		out.Dir = f["dir"].text()
	}
	out.Lease = p.lease(f["lease"])
	out.Judge = p.verdicts(f["judge"], d, out.Witnesses)
	out.Alarms = p.alarms(f["alarms"], d)
	out.Controls, out.Rules = p.routing(f["routing"], d)
	seen := unique{}
	for _, w := range f["webhooks"].items(maxWebhooks) {
		out.Webhooks = append(out.Webhooks, p.webhook(w, seen))
	}
	for _, t := range f["tokens"].items(maxTokens) {
		out.Tokens = append(out.Tokens, p.token(t, seen))
	}
	if f["dns"].there() {
		out.DNS = p.dns(f["dns"], d)
	}
	if f["datastore"].there() {
		out.Datastore = p.datastore(f["datastore"])
	}
	return out
}

func (p *parser) witness(c cursor) Witness {
	f := c.fields("name", "id", "control", "advertise", "api", "api_advertise")
	w := Witness{Name: f["name"].memberName("witness", "witness-1")}
	if f["id"].want("write id: and a number from 16 to 31 that no witness ever had") != "" {
		w.ID = uint64(f["id"].number(leastWitness, mostWitness)) //nolint:gosec // within bounds
	}
	w.Control, w.Advertise = advertised(f["control"], f["advertise"])
	w.API, w.APIAdvertise = advertised(f["api"], f["api_advertise"])
	return w
}

// lease reads how long a lease lasts, and has package lease look at it.
func (p *parser) lease(c cursor) lease.Config {
	f := c.fields("ttl", "guard", "renew", "answer", "max_step", "mode")
	before := len(p.faults)
	span := func(key string) time.Duration { return f[key].duration(10*time.Millisecond, mostWait) }
	l := lease.Config{
		TTL: span("ttl"), Guard: span("guard"), Renew: span("renew"), Answer: span("answer"), MaxStep: span("max_step"),
		Strict: f["mode"].oneOf("failsafe", "strict") == "strict",
	}
	if c.there() && len(p.faults) == before {
		c.refused(l.WithDefaults().Check(), "")
	}
	return l
}

// verdicts reads what the judge goes by, and has it look at that.
func (p *parser) verdicts(c cursor, d *Deployment, witnesses []Witness) judge.Config {
	f := c.fields("mode", "barred", "max_lag", "max_clock", "stale", "slow_writes", "failed_share", "lost_share", "min_writes",
		"cooldown", "max_failovers", "window", "attempt", "max_flaps", "flap_window")
	before := len(p.faults)
	span := func(key string) time.Duration { return f[key].duration(time.Millisecond, 365*24*time.Hour) }
	share := func(key string) float64 {
		before := len(p.faults)
		x := f[key].real()
		if f[key].there() && x == 0 && len(p.faults) == before {
			f[key].fault("want more than 0, at most 1", "is nothing")
		}
		return x
	}
	count := func(key string) int { return f[key].number(1, 32) } // as package judge keeps
	j := judge.Config{
		Mode:   judge.Mode(f["mode"].oneOf(string(judge.Automatic), string(judge.Advise), string(judge.Off))),
		MaxLag: span("max_lag"), MaxClock: span("max_clock"), Stale: span("stale"), SlowWrites: span("slow_writes"),
		FailedShare: share("failed_share"), LostShare: share("lost_share"), MinWrites: f["min_writes"].number(1, math.MaxInt32),
		Cooldown: span("cooldown"), MaxFailovers: count("max_failovers"), Window: span("window"), Attempt: span("attempt"),
		MaxFlaps: count("max_flaps"), FlapWindow: span("flap_window"),
	}
	if c.there() && len(p.faults) == before {
		sample := j
		sample.Regions = []string{"sample"} // the names are looked at where they stand
		_, err := judge.New(sample)
		c.refused(err, "")
	}
	j.Regions = d.Names()
	for _, w := range witnesses {
		j.Witnesses = append(j.Witnesses, w.Name)
	}
	seen := unique{}
	for _, b := range f["barred"].items(maxRegions) {
		name := b.member("Regions", d.Names())
		seen.once(b, "barred ", name, fmt.Sprintf("Region %q", printable(name)), "name it once")
		j.Barred = append(j.Barred, name)
	}
	return j
}

func (p *parser) webhook(c cursor, seen unique) Webhook {
	f := c.fields("name", "url", "secret_file", "secret_env", "kinds", "sns", "topic_arn")
	w := Webhook{
		Name: f["name"].named("webhook", seen), URL: f["url"].hook(), Secret: source(f["secret_file"], f["secret_env"]),
		SNS: f["sns"].yes(), TopicARN: f["topic_arn"].text(),
	}
	for _, k := range f["kinds"].items(maxKinds) {
		w.Kinds = append(w.Kinds, k.name("kind of events"))
	}
	switch parts := strings.Split(w.TopicARN, ":"); {
	case f["topic_arn"].there() && !w.SNS:
		f["topic_arn"].fault("write sns: true, or take it away", "is of messages in the form of SNS")
	case w.SNS && !f["topic_arn"].there():
		f["topic_arn"].fault("write topic_arn: arn:aws:sns:us-west-1:123456789012:roam, of the topic that receivers expect", "is missing")
	case w.TopicARN != "" && (len(parts) != 6 || parts[0] != "arn" || parts[2] != "sns" || parts[5] == ""):
		f["topic_arn"].fault("write it as arn:aws:sns:REGION:ACCOUNT:NAME", "%q is none of SNS", printable(w.TopicARN))
	}
	return w
}

// hook is the URL of a webhook. It may be a secret, and is not repeated.
func (c cursor) hook() string {
	s := c.want("write url: https://hooks.example/roam")
	if s == "" {
		return ""
	}
	u, err := url.Parse(s)
	switch {
	case err != nil || u.Opaque != "" || u.Hostname() == "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http":
		c.fault("write it as https://hooks.example/roam", "is no URL of a webhook")
	case u.Port() != "" && !isPort(u.Port()):
		c.fault("write a port from 1 to 65535, or none", "has no such port")
	case u.User != nil:
		c.fault("take it away: what is sent is signed by secret_file or secret_env", "has a user in front of its host")
	case u.Scheme == "http" && !loopback(u.Hostname()+":80") && !loopback("["+u.Hostname()+"]:80"):
		c.fault("write https: http is for loopback", "is not on loopback, and has no TLS")
	default:
		return s
	}
	return ""
}

func (p *parser) token(c cursor, seen unique) Token {
	f := c.fields("name", "role", "sha256_file", "sha256_env")
	t := Token{Name: f["name"].named("token", seen), SHA256: source(f["sha256_file"], f["sha256_env"])}
	if f["role"].want("write role: "+Viewer+" or role: "+Operator) != "" {
		t.Role = f["role"].oneOf(Viewer, Operator)
	}
	return t
}

// named is the name of a thing of some kind, of which no two have one.
func (c cursor) named(kind string, seen unique) string {
	if !c.there() {
		c.fault("write name: and a word", "is missing")
		return ""
	}
	s := c.name(kind)
	seen.once(c, kind+" ", s, fmt.Sprintf("name %q", printable(s)), "give each "+kind+" its own")
	return s
}

// refused reports what another room says is wrong with what it is to go by. It calls
// things as that does.
func (c cursor) refused(err error, prefix string) {
	for _, leaf := range leaves(err) {
		what := strings.TrimPrefix(leaf.Error(), prefix)
		what, want, ok := strings.Cut(what, ": want ")
		mend := "want " + want
		if !ok {
			mend = "docs/formats/roam-yaml.md says what may be"
		}
		c.fault(mend, "%s", what)
	}
}

// leaves returns the errors that were joined to one.
func leaves(err error) []error {
	if err == nil {
		return nil
	}
	var many interface{ Unwrap() []error }
	if errors.As(err, &many) {
		var out []error
		for _, e := range many.Unwrap() {
			out = append(out, leaves(e)...)
		}
		return out
	}
	return []error{err}
}
