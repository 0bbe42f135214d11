package node

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/roam-sessions/roam/internal/control"
	"github.com/roam-sessions/roam/internal/events"
	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/topology"
)

// newDeliverer returns what tells webhooks of events; nil: there are none.
func newDeliverer(c seatConfig, v *views) (*events.Deliverer, error) {
	hooks := c.deployment.Control.Webhooks
	if len(hooks) == 0 {
		return nil, nil
	}
	config := events.Config{Deployment: c.deployment.Name, Dir: c.deployment.Control.DirOf(c.self), Source: v.events, Log: c.log}
	if err := os.MkdirAll(config.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("folder of the member: %w", err)
	}
	for _, h := range hooks {
		secret, err := secretOf(h.Secret, c.getenv)
		if err != nil {
			return nil, fmt.Errorf("secret of the webhook %s: %w", h.Name, err)
		}
		hook := events.Hook{Name: h.Name, URL: h.URL, Secret: []byte(secret), SNS: h.SNS, TopicARN: h.TopicARN}
		for _, kind := range h.Kinds {
			hook.Kinds = append(hook.Kinds, ledger.Kind(kind))
		}
		config.Hooks = append(config.Hooks, hook)
	}
	return events.New(config)
}

// secretOf reads a secret from where the file says it is.
func secretOf(s topology.Source, getenv func(string) string) (string, error) {
	if s.File == "" {
		text := getenv(s.Env)
		if text == "" {
			return "", fmt.Errorf("the variable %s is empty or not set", s.Env)
		}
		return text, nil
	}
	b, err := os.ReadFile(s.File)
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(b)), nil
}

// deliver has this member tell webhooks while it leads, until ctx ends.
func deliver(ctx context.Context, d *events.Deliverer, m *control.Member, self string) {
	looks := time.NewTicker(time.Second)
	defer looks.Stop()
	for {
		d.Active(m.Leader() == self)
		select {
		case <-ctx.Done():
			return
		case <-looks.C:
		}
	}
}
