package elasticache

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/elasticache"
	"github.com/aws/aws-sdk-go-v2/service/elasticache/types"
)

// A fake is ElastiCache with one Global Datastore of two Regions. Its failovers take a
// while, and it counts what it is asked.
type fake struct {
	takes time.Duration

	mu       sync.Mutex // guards what follows
	view     View
	refuse   error // a failover
	down     error // all
	looks    int
	moves    []string
	detached int
}

func (f *fake) DescribeReplicationGroups(context.Context, *sdk.DescribeReplicationGroupsInput, ...func(*sdk.Options)) (*sdk.DescribeReplicationGroupsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.looks++
	if f.down != nil {
		return nil, f.down
	}
	g := types.ReplicationGroup{ReplicationGroupId: aws.String(here().Group), Status: aws.String("available")}
	if f.view.Global != "" {
		g.GlobalReplicationGroupInfo = &types.GlobalReplicationGroupInfo{GlobalReplicationGroupId: aws.String(here().Global), GlobalReplicationGroupMemberRole: aws.String(f.view.Role)}
	}
	return &sdk.DescribeReplicationGroupsOutput{ReplicationGroups: []types.ReplicationGroup{g}}, nil
}

func (f *fake) DescribeGlobalReplicationGroups(context.Context, *sdk.DescribeGlobalReplicationGroupsInput, ...func(*sdk.Options)) (*sdk.DescribeGlobalReplicationGroupsOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	g := types.GlobalReplicationGroup{GlobalReplicationGroupId: aws.String(here().Global), Status: aws.String(f.view.GlobalStatus)}
	for _, m := range f.view.Members {
		g.Members = append(g.Members, types.GlobalReplicationGroupMember{
			ReplicationGroupId: aws.String(m.Group), ReplicationGroupRegion: aws.String(m.Region), Role: aws.String(m.Role),
		})
	}
	return &sdk.DescribeGlobalReplicationGroupsOutput{GlobalReplicationGroups: []types.GlobalReplicationGroup{g}}, nil
}

func (f *fake) FailoverGlobalReplicationGroup(_ context.Context, in *sdk.FailoverGlobalReplicationGroupInput, _ ...func(*sdk.Options)) (*sdk.FailoverGlobalReplicationGroupOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.moves = append(f.moves, *in.PrimaryReplicationGroupId+" in "+*in.PrimaryRegion+" of "+*in.GlobalReplicationGroupId)
	if f.refuse != nil {
		return nil, f.refuse
	}
	f.view.GlobalStatus = "modifying"
	time.AfterFunc(f.takes, func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.view.GlobalStatus, f.view.Role = "available", "PRIMARY"
		f.view.Members[0].Role, f.view.Members[1].Role = "SECONDARY", "PRIMARY"
	})
	return &sdk.FailoverGlobalReplicationGroupOutput{}, nil
}

func (f *fake) DisassociateGlobalReplicationGroup(context.Context, *sdk.DisassociateGlobalReplicationGroupInput, ...func(*sdk.Options)) (*sdk.DisassociateGlobalReplicationGroupOutput, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.detached++
	f.view.Global, f.view.Role = "", ""
	return &sdk.DisassociateGlobalReplicationGroupOutput{}, nil
}

// do changes the fake.
func (f *fake) do(change func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change()
}

// run runs a Datastore on a fake in virtual time, and what a test does with it.
func run(t *testing.T, f *fake, do func(d *Datastore)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		f.view = calm()
		ctx, cancel := context.WithCancel(t.Context())
		d := New(f, here(), nil)
		done := make(chan struct{})
		go func() { d.Run(ctx); close(done) }()
		synctest.Wait()
		do(d)
		cancel()
		<-done
	})
}

// pass lets time pass, and what is due at its end be done.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// asked returns how often it was looked at, and which promotions it was asked for.
func (f *fake) asked() (looks int, moves []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.looks, slices.Clone(f.moves)
}

// keep wants the promotion as a node does, for a while.
func keep(d *Datastore, detach bool, lasts time.Duration) (err error) {
	for end := time.Now().Add(lasts); time.Now().Before(end); pass(500 * time.Millisecond) {
		if err = d.Promote(detach); err == nil {
			return nil
		}
	}
	return err
}

// Whoever wants the promotion never waits; ElastiCache is asked once, where the primary is to be.
func TestPromote(t *testing.T) {
	f := &fake{takes: time.Minute}
	run(t, f, func(d *Datastore) {
		began := time.Now()
		if err := keep(d, false, 2*time.Minute); err != nil {
			t.Errorf("after two minutes Promote = %v, want nil", err)
		}
		if took := time.Since(began); took < time.Minute || took > 65*time.Second {
			t.Errorf("it took %v, want a minute", took)
		}
		const want = "session-usw2 in us-west-2 of virxk-sessions"
		if _, moves := f.asked(); strings.Join(moves, ",") != want {
			t.Errorf("ElastiCache was asked for %q, want %q once", moves, want)
		}
	})
}

// A refusal is told, and asked about again a few times a minute while somebody wants it.
func TestPromoteThatIsRefused(t *testing.T) {
	f := &fake{refuse: &types.InvalidGlobalReplicationGroupStateFault{Message: aws.String("the primary can't be reached")}}
	run(t, f, func(d *Datastore) {
		err := keep(d, false, time.Minute)
		if !errors.Is(err, ErrUnderWay) || !strings.Contains(err.Error(), "can't be reached") {
			t.Errorf("Promote = %v, want ErrUnderWay and why", err)
		}
		if s := d.State(false); s.Failure == nil || !Unfit(s.Failure) {
			t.Errorf("State has failure %v, want the refusal", s.Failure)
		}
		_, was := f.asked()
		if len(was) < 3 || len(was) > 5 {
			t.Errorf("it was asked %d times in a minute, want 3 to 5", len(was))
		}
		pass(time.Minute)
		if _, moves := f.asked(); len(moves) != len(was) {
			t.Errorf("ElastiCache was asked %d times though nobody wants it any more", len(moves)-len(was))
		}
		if err := keep(d, true, 10*time.Second); err != nil || f.detached != 1 {
			t.Errorf("detached %d times, %v; want once", f.detached, err)
		}
	})
}

// It looks seldom, and at once where the server says something else than ElastiCache did.
func TestLooks(t *testing.T) {
	f := &fake{}
	run(t, f, func(d *Datastore) {
		pass(time.Minute)
		if looks, _ := f.asked(); looks < 6 || looks > 8 {
			t.Errorf("%d looks in a minute, want 6 to 8", looks)
		}
		f.do(func() {
			f.view.Role, f.looks = "PRIMARY", 0
			f.view.Members[1].Role, f.view.Members[0].Role = "PRIMARY", "SECONDARY"
		})
		d.State(true)
		synctest.Wait()
		looks, _ := f.asked()
		if m, ok := d.State(true).View.PrimaryOf(); !ok || m.Group != here().Group || looks != 1 {
			t.Errorf("after %d looks the primary is %+v", looks, m)
		}
		for range 100 { // a server that goes on saying something else
			d.State(false)
			pass(100 * time.Millisecond)
		}
		if looks, _ := f.asked(); looks < 5 || looks > 15 {
			t.Errorf("%d looks in ten seconds, want about one a second", looks)
		}
	})
}

// What was known stays while ElastiCache can't be asked.
func TestElastiCacheIsAway(t *testing.T) {
	f := &fake{}
	run(t, f, func(d *Datastore) {
		f.do(func() { f.down = errors.New("no route") })
		pass(time.Minute)
		s := d.State(false)
		if s.Failure == nil || s.View.Role != "SECONDARY" || time.Since(s.Seen) < 30*time.Second {
			t.Errorf("State = %+v, want what was said before, and why there is nothing newer", s)
		}
		f.do(func() { f.down = nil })
		pass(time.Minute)
		if s := d.State(false); s.Failure != nil {
			t.Errorf("State has failure %v, want none", s.Failure)
		}
	})
}
