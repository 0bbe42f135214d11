package events

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/roam-sessions/roam/internal/ledger"
)

// A wire is what is between a Deliverer and a receiver: it says what becomes of a request.
type wire func(*http.Request, []byte) (status int, header http.Header)

func (w wire) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	status, header := w(r, body)
	if status == 0 {
		return nil, errors.New("connection refused")
	}
	return &http.Response{StatusCode: status, Header: header, Body: http.NoBody, Request: r}, nil
}

// over runs a Deliverer in virtual time, until the test is done.
func over(t *testing.T, r *ring, w wire, do func(*Deliverer)) {
	t.Helper()
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		r.changed = make(chan struct{}) // of this bubble
		d, err := New(Config{
			Deployment: "shop", Source: r.source, Dir: dir,
			Hooks: []Hook{{Name: "pager", URL: "https://hooks.example/x", Secret: []byte(testSecret)}},
		})
		if err != nil {
			t.Fatal(err)
		}
		d.client.Transport = w
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { d.Run(ctx); close(done) }()
		d.Active(true)
		do(d)
		cancel()
		<-done
	})
}

// A hook that is not there is asked after a second, then after twice as long each time,
// and never less often than each five minutes, for a day.
func TestBackoff(t *testing.T) {
	var at []time.Time
	r := newRing()
	over(t, r, func(*http.Request, []byte) (int, http.Header) { at = append(at, time.Now()); return 0, nil }, func(d *Deliverer) {
		r.tell("alarm")
		time.Sleep(23*time.Hour + 50*time.Minute)
		if s := d.Stats()[0]; s.Dropped != 0 || s.Err == "" || s.Status != 0 {
			t.Errorf("Stats after 23 h 50 min = %+v, want nothing dropped", s)
		}
		time.Sleep(20 * time.Minute)
		if s := d.Stats()[0]; s.Dropped != 1 || s.Told != 1 {
			t.Errorf("Stats after 24 h 10 min = %+v, want one dropped", s)
		}
	})
	most := time.Second
	for i := 1; i < len(at); i++ {
		if wait := at[i].Sub(at[i-1]); wait < most/2 || wait > most {
			t.Errorf("wait %d was %v, want %v to %v", i, wait, most/2, most)
		}
		most = min(2*most, 5*time.Minute)
	}
	if n := len(at); n < 24*12 || n > 24*24+20 {
		t.Errorf("%d tries in a day", n)
	}
}

func TestRetryAfterIsHeeded(t *testing.T) {
	for _, c := range []struct {
		says        string
		least, most time.Duration
	}{
		{"60", time.Minute, time.Minute},
		{"3600", 5 * time.Minute, 5 * time.Minute}, // no longer than we would wait ourselves
		{"Fri, 01 Jan 2999 00:00:00 GMT", 500 * time.Millisecond, time.Second},
		{"-5", 500 * time.Millisecond, time.Second},
	} {
		var at []time.Time
		r := newRing()
		over(t, r, func(*http.Request, []byte) (int, http.Header) {
			if at = append(at, time.Now()); len(at) > 1 {
				return http.StatusOK, nil
			}
			return http.StatusServiceUnavailable, http.Header{"Retry-After": {c.says}}
		}, func(*Deliverer) {
			r.tell("alarm")
			time.Sleep(time.Hour)
		})
		if len(at) != 2 || at[1].Sub(at[0]) < c.least || at[1].Sub(at[0]) > c.most {
			t.Errorf("Retry-After %q: tries at %v, want two, %v to %v apart", c.says, at, c.least, c.most)
		}
	}
}

// What a hook says it can't take does not hold up what follows; that it does not know us
// may be mended.
func TestRefusedEventIsGivenUp(t *testing.T) {
	for status, dropped := range map[int]uint64{400: 1, 413: 1, 415: 1, 422: 1, 401: 0, 404: 0, 500: 0} {
		tries := map[string]int{}
		r := newRing()
		over(t, r, func(q *http.Request, _ []byte) (int, http.Header) {
			id := q.Header.Get("Roam-Event-Id")
			if tries[id]++; id == "shop-1" {
				return status, nil
			}
			return http.StatusOK, nil
		}, func(d *Deliverer) {
			r.tell("alarm", "alarm")
			time.Sleep(time.Hour)
			if s := d.Stats()[0]; s.Dropped != dropped || tries["shop-2"] != int(dropped) { //nolint:gosec // small
				t.Errorf("status %d: Stats = %+v after tries %v, want %d dropped", status, s, tries, dropped)
			}
		})
		if dropped == 1 && tries["shop-1"] != maxRefusals {
			t.Errorf("status %d: %d tries, want %d", status, tries["shop-1"], maxRefusals)
		}
	}
}

// What leaves the ring while a hook is away is counted, and what is left is told.
func TestRingsEnd(t *testing.T) {
	var well atomic.Bool
	var got []string
	r := newRing()
	r.most = 5
	over(t, r, func(q *http.Request, _ []byte) (int, http.Header) {
		if !well.Load() {
			return 0, nil
		}
		got = append(got, q.Header.Get("Roam-Event-Id"))
		return http.StatusNoContent, nil
	}, func(d *Deliverer) {
		r.tell("alarm")
		time.Sleep(time.Second)
		r.tell("alarm", "alarm", "alarm", "alarm", "alarm", "alarm")
		well.Store(true)
		time.Sleep(time.Hour)
		if s := d.Stats()[0]; s.Dropped != 2 || s.Delivered != 5 {
			t.Errorf("Stats = %+v, want 2 dropped and 5 delivered", s)
		}
	})
	if diff := cmp.Diff([]string{"shop-3", "shop-4", "shop-5", "shop-6", "shop-7"}, got); diff != "" {
		t.Errorf("delivered: %s", diff)
	}
}

func TestNewHookIsToldOfThePastMinutes(t *testing.T) {
	var got []string
	r := newRing()
	old := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // when bubbles begin
	r.tellAt(old.Add(-11*time.Minute), "mode")
	r.tellAt(old.Add(-9*time.Minute), "mode")
	over(t, r, func(q *http.Request, _ []byte) (int, http.Header) {
		got = append(got, q.Header.Get("Roam-Event-Id"))
		return http.StatusOK, nil
	}, func(*Deliverer) { time.Sleep(time.Minute) })
	if diff := cmp.Diff([]string{"shop-2"}, got); diff != "" {
		t.Errorf("delivered: %s", diff)
	}
}

// The shapes are a promise to receivers.
func TestShapes(t *testing.T) {
	m := MessageOf("shop", ledger.Event{
		Seq: 12, At: time.Date(2026, 6, 1, 12, 0, 0, 5e6, time.FixedZone("", 3600)), Kind: ledger.KindPromoted,
		Region: "us-west-2", Other: "us-west-1", Epoch: 8, Text: `it "takes" all writes`,
	})
	own, err := m.encode()
	if err != nil {
		t.Fatal(err)
	}
	const ours = `{"version":1,"id":"shop-12","deployment":"shop","seq":12,"at":"2026-06-01T11:00:00.005Z","kind":"promoted",` +
		`"region":"us-west-2","other":"us-west-1","epoch":8,"text":"it \"takes\" all writes"}`
	if string(own) != ours {
		t.Errorf("encode = %s\nwant %s", own, ours)
	}
	sns, err := m.encodeSNS("arn:aws:sns:us-west-2:123456789012:t")
	if err != nil {
		t.Fatal(err)
	}
	want := `{"Type":"Notification","MessageId":"` + m.uuid() + `","TopicArn":"arn:aws:sns:us-west-2:123456789012:t",` +
		`"Subject":"Amazon ElastiCache Notification","Message":"{\"ElastiCache:ReplicationGroupPromotedAsPrimary\":\"us-west-2\",` +
		`\"Roam:Deployment\":\"shop\",\"Roam:Seq\":\"12\",\"Roam:Epoch\":\"8\",\"Roam:Other\":\"us-west-1\",` +
		`\"Roam:Text\":\"it \\\"takes\\\" all writes\"}","Timestamp":"2026-06-01T11:00:00.005Z",` +
		`"SignatureVersion":"roam-signature-header","Signature":"","SigningCertURL":"","UnsubscribeURL":""}`
	if string(sns) != want {
		t.Errorf("encodeSNS = %s\nwant %s", sns, want)
	}
	m.Kind = ledger.KindAlarm
	text, err := m.inSNS()
	var pairs map[string]string
	if err != nil || json.Unmarshal([]byte(text), &pairs) != nil || pairs["Roam:alarm"] != "us-west-2" || strings.Contains(text, "ElastiCache") {
		t.Errorf("of an alarm: %s, %v, want no key of ElastiCache", text, err)
	}
	if id := m.uuid(); len(id) != 36 || id[14] != '8' || !strings.ContainsRune("89ab", rune(id[19])) {
		t.Errorf("uuid = %s, want one of version 8", id)
	}
}

// A hook in the shape of SNS has the headers of SNS, and our signature beside them.
func TestSNSHeaders(t *testing.T) {
	seen := make(chan http.Header, 1)
	r := newRing()
	c := Config{Deployment: "shop", Source: r.source, Dir: t.TempDir(), Hooks: []Hook{
		{Name: "topic", URL: "https://hooks.example/x", Secret: []byte(testSecret), SNS: true, TopicARN: "arn:aws:sns:us-west-2:1:t"},
	}}
	d, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	d.client.Transport = wire(func(q *http.Request, body []byte) (int, http.Header) {
		if err := Verify(q.Header.Get(SignatureHeader), body, time.Now(), []byte(testSecret)); err != nil {
			t.Errorf("Verify: %v", err)
		}
		seen <- q.Header
		return http.StatusOK, nil
	})
	if out, err := d.Test(t.Context(), "topic"); err != nil || out.Err != nil {
		t.Fatalf("Test = %+v, %v", out, err)
	}
	h := <-seen
	if h.Get("X-Amz-Sns-Message-Type") != "Notification" || h.Get("X-Amz-Sns-Topic-Arn") != "arn:aws:sns:us-west-2:1:t" ||
		len(h.Get("X-Amz-Sns-Message-Id")) != 36 || h.Get("Content-Type") != "text/plain; charset=UTF-8" {
		t.Errorf("headers %v", h)
	}
}
