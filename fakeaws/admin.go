package fakeaws

import (
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

// mostAdminBody bounds a request to the admin endpoint, in bytes.
const mostAdminBody = 1 << 20

// adminHandler serves the knobs. Nobody is asked who she is, so nothing that runs a program
// is among them, and web pages that a browser shows can't turn them.
func (c *Cloud) adminHandler() http.Handler {
	mux := http.NewServeMux()
	get := func(path string, f func(r *http.Request) (any, error)) { mux.HandleFunc("GET "+path, answer(f)) }
	get("/{$}", func(*http.Request) (any, error) {
		return map[string]any{"account": c.config.Account, "front": c.front, "dns": c.names.Addr(), "endpoints": c.endpoints}, nil
	})
	get("/rules", func(*http.Request) (any, error) { return c.Rules(), nil })
	get("/calls", func(*http.Request) (any, error) { return c.Calls(), nil })
	get("/dead", func(*http.Request) (any, error) { return c.DeadLetters(), nil })
	get("/log", func(r *http.Request) (any, error) { return c.FunctionLog(r.URL.Query().Get("function")), nil })
	get("/sns/confirm", func(r *http.Request) (any, error) {
		return c.sns.Confirm(r.URL.Query().Get("TopicArn"), r.URL.Query().Get("Token"))
	})
	get("/sns/unsubscribe", func(r *http.Request) (any, error) {
		c.sns.Unsubscribe(r.URL.Query().Get("SubscriptionArn"))
		return "ok", nil
	})
	mux.HandleFunc("GET /ca.pem", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(c.CA()) }) // that is all
	mux.HandleFunc("POST /rules", answer(c.adminAddRule))
	mux.HandleFunc("DELETE /rules", answer(func(*http.Request) (any, error) { return "ok", c.clearRules() }))
	mux.HandleFunc("DELETE /rules/{id}", answer(func(r *http.Request) (any, error) {
		if !c.RemoveRule(r.PathValue("id")) {
			return nil, ErrRule
		}
		return "ok", nil
	}))
	mux.HandleFunc("PUT /mail", answer(c.adminMail))
	mux.HandleFunc("PUT /regions/{region}", answer(c.adminRegion))
	mux.HandleFunc("PUT /links/{from}/{to}", answer(c.adminLink))
	mux.HandleFunc("PUT /health/{id}", answer(c.adminHealth))
	mux.HandleFunc("POST /panels", answer(c.adminPanel))
	mux.HandleFunc("POST /metrics", answer(c.adminMetric))
	mux.HandleFunc("POST /schedules", answer(c.adminSchedule))
	return guard(mux)
}

// guard refuses what a page in a browser may send: another host's name, or another origin.
func guard(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, err := net.SplitHostPort(r.Host)
		if err != nil {
			host = r.Host
		}
		addr, err := netip.ParseAddr(host)
		if host != "localhost" && (err != nil || !addr.IsLoopback()) || r.Header.Get("Origin") != "" {
			http.Error(w, `{"error":"ask from a program on this machine"}`, http.StatusForbidden)
			return
		}
		h.ServeHTTP(w, r)
	})
}

// answer writes what f returns as JSON; an error is the caller's.
func answer(f func(r *http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		out, err := f(r)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			out = map[string]string{"error": err.Error()}
		}
		_ = json.NewEncoder(w).Encode(out) // whoever asked may have gone
	}
}

// body reads an object.
func body(r *http.Request, into any) error {
	text, err := io.ReadAll(io.LimitReader(r.Body, mostAdminBody))
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// A duration is read from a text such as 1.5s.
type duration time.Duration

// UnmarshalText reads it.
func (d *duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = duration(v)
	return err
}

func (c *Cloud) adminAddRule(r *http.Request) (any, error) {
	text, err := io.ReadAll(io.LimitReader(r.Body, mostAdminBody))
	if err != nil {
		return nil, err
	}
	rule, err := door.ParseRule(text)
	if err != nil {
		return nil, err
	}
	id, err := c.AddRule(rule)
	return map[string]string{"id": id}, err
}

// clearRules takes all rules away, and puts dark Regions back.
func (c *Cloud) clearRules() error {
	c.mu.Lock()
	regions := make([]string, 0, len(c.dark))
	for r := range c.dark {
		regions = append(regions, r)
	}
	c.mu.Unlock()
	var err error
	for _, r := range regions {
		err = errors.Join(err, c.SetDark(r, false))
	}
	c.keeper.Rules.Clear()
	return err
}

func (c *Cloud) adminMail(r *http.Request) (any, error) {
	var in struct {
		Duplicate, Drop float64
		Delay           duration
	}
	if err := body(r, &in); err != nil {
		return nil, err
	}
	return "ok", c.SetMail(Mail{Duplicate: in.Duplicate, Drop: in.Drop, Delay: time.Duration(in.Delay)})
}

func (c *Cloud) adminRegion(r *http.Request) (any, error) {
	var in struct{ Dark bool }
	if err := body(r, &in); err != nil {
		return nil, err
	}
	return "ok", c.SetDark(r.PathValue("region"), in.Dark)
}

func (c *Cloud) adminLink(r *http.Request) (any, error) {
	var in struct {
		Delay          duration
		Silent, Closed bool
	}
	if err := body(r, &in); err != nil {
		return nil, err
	}
	return "ok", c.SetLink(r.PathValue("from"), r.PathValue("to"), Path{Delay: time.Duration(in.Delay), Silent: in.Silent, Closed: in.Closed})
}

func (c *Cloud) adminHealth(r *http.Request) (any, error) {
	var in struct{ Healthy bool }
	if err := body(r, &in); err != nil {
		return nil, err
	}
	return "ok", c.SetHealth(r.PathValue("id"), in.Healthy)
}

func (c *Cloud) adminPanel(r *http.Request) (any, error) {
	var in Panel
	if err := body(r, &in); err != nil {
		return nil, err
	}
	if err := c.AddPanel(in); err != nil {
		return nil, err
	}
	arns := map[string]string{}
	for _, name := range in.Controls {
		arns[name] = c.ControlARN(in.Name, name)
	}
	return arns, nil
}

func (c *Cloud) adminMetric(r *http.Request) (any, error) {
	var in struct {
		Region, Namespace, Metric string
		Value                     float64
		Dimensions                map[string]string
	}
	if err := body(r, &in); err != nil {
		return nil, err
	}
	var pairs []string
	for k, v := range in.Dimensions {
		pairs = append(pairs, k, v)
	}
	return "ok", c.PutMetric(in.Region, in.Namespace, in.Metric, in.Value, pairs...)
}

func (c *Cloud) adminSchedule(r *http.Request) (any, error) {
	var in struct {
		Function string
		Every    duration
	}
	if err := body(r, &in); err != nil {
		return nil, err
	}
	return "ok", c.Schedule(in.Function, time.Duration(in.Every))
}
