package lab

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/roam-sessions/roam/internal/fault"
)

// What members say to each other fares as calls do, and not as replication does.
func TestMembersFareAsCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNetwork(1)
		l, err := n.members.Listen(west1, linksPort)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }() // it was listened at
		for _, plane := range []fault.Plane{fault.Calls, fault.Replication} {
			n.SetLink(europe, west1, plane, fault.Link{Delay: 50 * time.Millisecond})
		}
		dial := func() error {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			begun := time.Now()
			c, err := n.dialMember(europe)(ctx, "tcp", net.JoinHostPort(west1, linksPort))
			if err == nil {
				_ = c.Close() // it was made
				if took := time.Since(begun); took < 50*time.Millisecond {
					t.Errorf("it took %v, want as long as a call", took)
				}
			}
			return err
		}
		cut := func(plane fault.Plane, on bool) func() {
			return func() { n.SetLink(europe, west1, plane, fault.Link{Delay: 50 * time.Millisecond, Cut: on}) }
		}
		for _, c := range []struct {
			what string
			do   func()
			want error
		}{
			{"whole", func() {}, nil},
			{"replication is cut", cut(fault.Replication, true), nil},
			{"calls are cut", cut(fault.Calls, true), context.DeadlineExceeded},
			{"calls are healed", cut(fault.Calls, false), nil},
			{"frozen", func() { n.Freeze(west1) }, context.DeadlineExceeded},
			{"killed", func() { n.Kill(west1) }, syscall.ECONNREFUSED},
			{"revived", func() { n.Revive(west1) }, nil},
		} {
			c.do()
			if err := dial(); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", c.what, err, c.want)
			}
			if alive := c.what != "frozen" && c.what != "killed"; n.Alive(west1) != alive {
				t.Errorf("%s: it is alive: %v", c.what, !alive)
			}
		}
		if err := func() error {
			_, err := n.dialMember(europe)(t.Context(), "tcp", "no address")
			return err
		}(); err == nil {
			t.Error("a dial to no address worked")
		}
	})
}
