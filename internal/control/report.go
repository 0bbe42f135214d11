package control

import (
	"context"
	"time"

	"github.com/roam-sessions/roam/internal/judge"
	"github.com/roam-sessions/roam/internal/judge/alarm"
	"github.com/roam-sessions/roam/internal/lease"
	"github.com/roam-sessions/roam/internal/steer"
)

// period is how often members report.
const period = time.Second

// A reportBytes is what a member tells all others once a period.
type reportBytes struct {
	From    string         `json:"from"`
	At      time.Time      `json:"at"`    // by its clock
	Heard   []string       `json:"heard"` // the members that it has heard in the last period
	Views   []judge.View   `json:"views"`
	Writes  []judge.Writes `json:"writes,omitempty"`
	Data    []alarm.Datum  `json:"data,omitempty"`
	Names   []Name         `json:"names,omitempty"`
	Server  steer.Server   `json:"server"`
	Version string         `json:"version"`
	// Told is how far others were told of events, of the member that leads.
	Told map[string]uint64 `json:"told,omitempty"`
}

// heard is what a member reported last.
type heard struct {
	report  steer.Report
	data    []alarm.Datum // of this report
	bytes   reportBytes
	skew    time.Duration // of its clock to ours
	arrived time.Time
}

// heard takes in a report that has come.
func (m *Member) heard(news reportBytes) {
	now := time.Now()
	m.mail.put(func() []steer.Act {
		m.take(news, now)
		return nil
	})
}

func (m *Member) take(news reportBytes, at time.Time) {
	h := heard{bytes: news, skew: news.At.Sub(at), arrived: at, data: news.Data}
	h.report = steer.Report{
		Report: judge.Report{Member: news.From, At: at, Views: news.Views, Writes: news.Writes}, Server: news.Server,
	}
	m.reports[news.From] = h
	if news.From != m.config.Self && news.From == m.Leader() {
		m.config.Learn(news.Told)
	}
}

// reportAll tells all members what this one sees, itself included, once a period.
func (m *Member) reportAll(ctx context.Context) {
	ticks := time.NewTicker(period)
	defer ticks.Stop()
	for {
		m.mail.put(func() []steer.Act {
			news := m.compose(time.Now())
			m.take(news, news.At)
			for _, p := range m.config.others() {
				m.wg.Go(func() {
					telling, cancel := context.WithTimeout(ctx, 3*period/2)
					defer cancel()
					var r reply
					_ = m.client.ask(telling, p, reportPath, news, &r) // that it does not come is seen there
				})
			}
			return nil
		})
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
	}
}

// compose makes this member's report.
func (m *Member) compose(now time.Time) reportBytes {
	measured := m.config.Measure()
	news := reportBytes{
		From: m.config.Self, At: now, Writes: measured.Writes, Data: measured.Data, Server: m.server, Version: m.config.Version,
		Names: measured.Names[:min(len(measured.Names), MaxNames)],
	}
	if m.chief != nil {
		news.Told = m.config.Told()
	}
	for _, p := range m.config.others() {
		if h, ok := m.reports[p.Name]; ok && now.Sub(h.arrived) <= 3*period/2 {
			news.Heard = append(news.Heard, p.Name)
		}
	}
	for _, p := range m.config.Members {
		switch {
		case p.Witness:
		case p.Name == m.config.Self:
			news.Views = append(news.Views, judge.View{
				Region: p.Name, In: judge.Up, Out: judge.Up, Engine: sight(m.server.Known), Beat: m.server.Beat, Clock: m.server.Clock,
			})
		default:
			news.Views = append(news.Views, m.sees(p.Name, now))
		}
	}
	return news
}

// sees returns what this member sees of another Region.
func (m *Member) sees(region string, now time.Time) judge.View {
	v := judge.View{Region: region}
	h, ok := m.reports[region]
	if !ok {
		if m.now() > lease.Time(3*period) {
			v.In = judge.Down
		}
		return v
	}
	v.Beat = h.bytes.Server.Beat
	if now.Sub(h.arrived) > 3*period/2 {
		v.In = judge.Down
		return v
	}
	v.In, v.Out, v.Engine = judge.Up, judge.Down, sight(h.bytes.Server.Known)
	for _, name := range h.bytes.Heard {
		if name == m.config.Self {
			v.Out = judge.Up
		}
	}
	if clock := h.bytes.Server.Clock; clock != nil {
		ahead := *clock + h.skew
		v.Clock = &ahead
	}
	return v
}

func sight(up bool) judge.Sight {
	if up {
		return judge.Up
	}
	return judge.Down
}
