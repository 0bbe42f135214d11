package lease

import (
	"errors"
	"fmt"
	"time"
)

// A Time is what a clock that does not step says. Only times of one process may be
// compared.
type Time time.Duration

// Add returns the time d after t.
func (t Time) Add(d time.Duration) Time { return t + Time(d) }

// Sub returns how long it is from u to t.
func (t Time) Sub(u Time) time.Duration { return time.Duration(t - u) }

// A Config says how long things take. It is the same for all members.
type Config struct {
	// TTL is how long the quorum waits for a holder that it does not hear. Default 5 s.
	TTL time.Duration
	// Guard is by how much earlier a server stops. Default 1 s.
	Guard time.Duration
	// Renew is how often a holder renews. Default 1 s.
	Renew time.Duration
	// Answer is how long an answer is waited for. Default 1 s.
	Answer time.Duration
	// MaxStep is by how much a server's clock may move against its holder's before it
	// counts as stepped, and how long an answer may take that tells. Default 200 ms.
	MaxStep time.Duration
	// Strict has a holder stop when the quorum is out of its reach, whoever else
	// answers. Default false: failsafe.
	Strict bool
}

// WithDefaults returns c with defaults in place of zeros.
func (c Config) WithDefaults() Config {
	for _, f := range []struct {
		d *time.Duration
		v time.Duration
	}{{&c.TTL, 5 * time.Second}, {&c.Guard, time.Second}, {&c.Renew, time.Second}, {&c.Answer, time.Second}, {&c.MaxStep, 200 * time.Millisecond}} {
		if *f.d == 0 {
			*f.d = f.v
		}
	}
	return c
}

// Check returns all that is wrong with c, defaults filled in.
func (c Config) Check() error {
	var faults []error
	fault := func(is bool, format string, args ...any) {
		if is {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	fault(c.Guard <= 0, "guard %v: want more than nothing", c.Guard)
	fault(c.Renew <= 0 || c.Answer <= 0, "renewals every %v that wait for %v: want more than nothing", c.Renew, c.Answer)
	fault(c.TTL-c.Guard < c.Renew+2*c.Answer, "TTL %v: want the guard, a renewal and two answers at least, %v", c.TTL, c.Guard+c.Renew+2*c.Answer)
	fault(c.MaxStep <= 0 || c.MaxStep > c.Guard/4, "step %v: want a quarter of the guard at most, %v", c.MaxStep, c.Guard/4)
	return errors.Join(faults...)
}

// Wait is how long the next epoch waits for the present one: the holder's servers have
// stopped by then.
func (c Config) Wait() time.Duration { return c.TTL + c.Guard }

// lasts is how long a server holds a lease, from when it was asked for its clock.
func (c Config) lasts() time.Duration { return c.TTL - c.Guard }
