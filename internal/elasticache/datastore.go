package elasticache

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"
)

const (
	// lookEvery is between two looks while nothing changes, lookSoon while something does.
	lookEvery = 10 * time.Second
	lookSoon  = time.Second
	// wantFor is for how long a Promote counts: while somebody wants it, it is said again.
	wantFor = 5 * time.Second
	// lookTime bounds one look, with its tries.
	lookTime = 20 * time.Second
)

// ErrUnderWay says that ElastiCache has been asked, or is about to be, and takes its time.
var ErrUnderWay = errors.New("ElastiCache has been asked for it")

// A Datastore is a Global Datastore as one Region's node sees it. It knows what ElastiCache
// said last; who asks it never waits for AWS. It may be used by many goroutines.
type Datastore struct {
	client Client
	site   Site
	log    *slog.Logger
	kick   chan struct{} // something is wanted that was not

	mu      sync.Mutex // guards what follows
	view    View
	seen    time.Time // when; zero: never
	failure error     // of the last look, or of what was asked last
	want    Want
	until   time.Time // the want counts
	asked   time.Time // a deed, last
	doubted time.Time // when somebody saw last that it is not so
}

// Open returns a Datastore at AWS, or where AWS_ENDPOINT_URL leads. Who asks is found as the AWS
// SDK does, in the environment, files or the machine's role; nothing else is asked before Run.
func Open(ctx context.Context, s Site, log *slog.Logger) (*Datastore, error) {
	loaded, err := config.LoadDefaultConfig(ctx, config.WithRegion(s.Region), config.WithAppID("roam"),
		config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} })) // tries are counted here, and nowhere else
	if err != nil {
		return nil, fmt.Errorf("settings of the AWS SDK: %w", err)
	}
	return New(sdk.NewFromConfig(loaded), s, log), nil
}

// New returns a Datastore. It asks nothing before Run.
func New(client Client, s Site, log *slog.Logger) *Datastore {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Datastore{client: client, site: s, log: log, kick: make(chan struct{}, 1)}
}

// A State is what is known of a Global Datastore.
type State struct {
	View View
	// Seen is when ElastiCache said so; zero: it never has.
	Seen time.Time
	// Failure is why it could not be asked, or what it refused; nil: nothing.
	Failure error
}

// State returns what is known. Primary is what the group's server says of itself: if that is
// something else, ElastiCache is asked anew.
func (d *Datastore) State(primary bool) State {
	d.mu.Lock()
	defer d.mu.Unlock()
	alone := d.view.Found && d.view.Global == "" // it may be either
	if now := time.Now(); primary != strings.EqualFold(d.view.Role, Primary) && !alone {
		if now.After(d.doubted.Add(lookSoon)) && now.After(d.until) {
			d.hurry()
		}
		d.doubted = now
	}
	return State{d.view, d.seen, d.failure}
}

// hurry has Run look now. The caller holds the lock.
func (d *Datastore) hurry() {
	select {
	case d.kick <- struct{}{}:
	default: // it is to look already
	}
}

// Promote has ElastiCache be asked to make this Region's group the primary; detach: to take
// it out of the Global Datastore, if it is a secondary there. It does not wait: nil says that
// it is so already as far as ElastiCache knows; ErrUnderWay that it is wanted from now on,
// for five seconds, and why it could not be done yet, if it could not.
func (d *Datastore) Promote(detach bool) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	want := Promoted
	if detach {
		want = Detached
	}
	if d.want != want || now.After(d.until) {
		d.hurry()
	}
	d.want, d.until = want, now.Add(wantFor)
	if alone := d.view.Found && d.view.Global == ""; strings.EqualFold(d.view.Role, Primary) || alone && detach {
		return nil
	}
	return errors.Join(ErrUnderWay, d.failure)
}

// Run looks, and asks for what is wanted, until ctx ends.
func (d *Datastore) Run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		case <-d.kick:
		}
		d.once(ctx)
		timer.Reset(d.next())
	}
}

// next returns how long to wait until the next look.
func (d *Datastore) next() time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Before(d.until) || now.Before(d.doubted.Add(2*lookSoon)) || d.view.GlobalStatus == "modifying" || d.seen.IsZero() {
		return lookSoon
	}
	return lookEvery
}

// once looks, and does what follows.
func (d *Datastore) once(ctx context.Context) {
	looking, cancel := context.WithTimeout(ctx, lookTime)
	defer cancel()
	v, err := Look(looking, d.client, d.site.Group)
	d.mu.Lock()
	now := time.Now()
	if err == nil {
		d.view, d.seen = v, now
	}
	want := d.want
	if now.After(d.until) {
		want = Nothing
	}
	deed, why := None, ""
	if err == nil {
		deed, why = Decide(v, d.site, want, d.asked, now)
	}
	if deed == Failover || deed == Disassociate {
		d.asked = now
	}
	d.mu.Unlock()
	switch {
	case deed == Wait:
		return
	case deed != None:
		err = d.do(ctx, deed)
	case why != "":
		err = errors.New(why)
	}
	d.say(err)
}

// say keeps what went wrong, and tells of it when it is something else than before.
func (d *Datastore) say(err error) {
	d.mu.Lock()
	was := d.failure
	d.failure = err
	d.mu.Unlock()
	if err != nil && (was == nil || was.Error() != err.Error()) {
		d.log.Warn("the Global Datastore", "group", d.site.Group, "err", err)
	}
}

// do asks for something once. The primary of a Global Datastore is moved by asking where it
// is to be: the Region that is lost can't be asked.
func (d *Datastore) do(ctx context.Context, deed Deed) error {
	ctx, cancel := context.WithTimeout(ctx, AskTimeout)
	defer cancel()
	s := d.site
	var err error
	switch deed {
	case Failover:
		_, err = d.client.FailoverGlobalReplicationGroup(ctx, &sdk.FailoverGlobalReplicationGroupInput{
			GlobalReplicationGroupId: &s.Global, PrimaryRegion: &s.Region, PrimaryReplicationGroupId: &s.Group,
		})
		d.log.Info("ElastiCache was asked to make a group the primary", "group", s.Group, "err", err)
	case Disassociate:
		_, err = d.client.DisassociateGlobalReplicationGroup(ctx, &sdk.DisassociateGlobalReplicationGroupInput{
			GlobalReplicationGroupId: &s.Global, ReplicationGroupId: &s.Group, ReplicationGroupRegion: &s.Region,
		})
		d.log.Warn("ElastiCache was asked to take a group out of the Global Datastore", "group", s.Group, "err", err)
	case None, Wait:
	}
	if err != nil {
		return fmt.Errorf("ElastiCache refuses: %w", err)
	}
	return nil
}
