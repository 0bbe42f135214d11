package topology

import (
	"fmt"
	"time"

	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/judge/routing"
)

// Bounds as those of packages alarm and routing.
const (
	maxAlarms   = 200
	maxPeriods  = 60
	maxControls = 100
	maxRules    = 100
)

func (p *parser) alarms(c cursor, d *Deployment) (out []alarm.Alarm) {
	seen := unique{}
	for _, item := range c.items(maxAlarms) {
		out = append(out, p.alarm(item, d, seen))
	}
	return out
}

// alarm reads one, and has package alarm look at it.
func (p *parser) alarm(c cursor, d *Deployment, seen unique) alarm.Alarm {
	f := c.fields("name", "metric", "region", "from", "comparison", "threshold", "period", "periods", "to_alarm", "missing", "feed")
	before := len(p.faults)
	a := alarm.Alarm{
		Name: f["name"].named("alarm", seen),
		From: f["from"].member("Regions", d.Names()),
		Comparison: alarm.Comparison(f["comparison"].oneOf(string(alarm.GreaterOrEqual), string(alarm.Greater),
			string(alarm.LessOrEqual), string(alarm.Less))),
		Period:  f["period"].duration(time.Millisecond, 24*time.Hour),
		ToAlarm: f["to_alarm"].number(1, maxPeriods),
		Missing: alarm.Treat(f["missing"].oneOf(string(alarm.Missing), string(alarm.Ignore), string(alarm.Breaching),
			string(alarm.NotBreaching))),
		Feed: alarm.Feed(f["feed"].oneOf(string(alarm.FeedDegrade), string(alarm.FeedRouteAway), string(alarm.FeedFailOver))),
	}
	if f["threshold"].want("write threshold: and a number, of milliseconds or a share") != "" {
		a.Threshold = f["threshold"].real()
	}
	if f["metric"].want("write metric: "+string(alarm.WriteP99)) != "" {
		a.Metric = alarm.Metric(f["metric"].oneOf(string(alarm.WriteP99), string(alarm.ErrorRate), string(alarm.Lag),
			string(alarm.DegradedShare)))
	}
	if f["region"].want("write region: and the name of one") != "" {
		a.Region = f["region"].member("Regions", d.Names())
	}
	if f["periods"].want("write periods: and how many are looked at, such as 5") != "" {
		a.Periods = f["periods"].number(1, maxPeriods)
	}
	if len(p.faults) == before {
		_, err := alarm.New([]alarm.Alarm{a})
		c.refused(err, fmt.Sprintf("alarm %q: ", a.Name))
	}
	return a
}

func (p *parser) routing(c cursor, d *Deployment) (controls []routing.Control, rules []routing.Rule) {
	f := c.fields("controls", "rules")
	seen := unique{}
	var names []string
	var sample []routing.Control // that a rule can be looked at with
	for _, item := range f["controls"].items(maxControls) {
		g := item.fields("name", "region", "writer")
		before := len(p.faults)
		r := routing.Control{Name: g["name"].named("control", seen), Writer: g["writer"].yes()}
		if r.Name != "" && len(p.faults) == before {
			names = append(names, r.Name)
			sample = append(sample, routing.Control{Name: r.Name, Region: r.Name})
		}
		if g["region"].want("write region: and the name of the one that it switches") != "" {
			r.Region = g["region"].member("Regions", d.Names())
		}
		if r.Writer && (d.Topology == ActiveActive || len(d.Regions) > 0 && d.Regions[0].Engine.Memory != nil) {
			g["writer"].fault("take it away", "it could never be turned on: no Region holds a lease in this deployment")
		}
		controls = append(controls, r)
	}
	for _, item := range f["rules"].items(maxRules) {
		rules = append(rules, p.rule(item, names, sample, seen))
	}
	return controls, rules
}

// rule reads a safety rule, and has package routing look at it.
func (p *parser) rule(c cursor, names []string, controls []routing.Control, seen unique) routing.Rule {
	f := c.fields("name", "controls", "gates", "type", "threshold", "inverted", "wait")
	before := len(p.faults)
	r := routing.Rule{
		Name: f["name"].named("rule", seen), Threshold: f["threshold"].number(1, maxControls), Inverted: f["inverted"].yes(),
	}
	for _, n := range f["controls"].items(maxControls) {
		r.Controls = append(r.Controls, n.member("controls", names))
	}
	for _, n := range f["gates"].items(maxControls) {
		r.Gates = append(r.Gates, n.member("controls", names))
	}
	if f["type"].want("write type: "+string(routing.AtLeast)) != "" {
		r.Type = routing.Type(f["type"].oneOf(string(routing.AtLeast), string(routing.And), string(routing.Or)))
	}
	if f["wait"].there() {
		if r.Wait = f["wait"].duration(0, mostWait); r.Wait == 0 {
			r.Wait = -1 // none at all; zero is the default there
		}
	}
	if len(p.faults) == before {
		_, err := routing.New(controls, []routing.Rule{r})
		c.refused(err, fmt.Sprintf("rule %q: ", r.Name))
	}
	return r
}
