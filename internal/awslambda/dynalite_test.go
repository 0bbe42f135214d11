//go:build integration

package awslambda

import (
	"crypto/rand"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine/dynamo"
	"github.com/roam-sessions/roam/internal/dynalitetest"
)

// What an application has written, the function deletes when it is past its time, and not before.
func TestSweepOnDynalite(t *testing.T) {
	server := dynalitetest.Start(t, "")
	server.Table(table)
	var ago time.Duration
	e, err := dynamo.Open(t.Context(), 1, dynamo.Config{
		Table: table, Region: west2, Endpoint: server.Endpoint(), Strong: true, Credentials: credentials.NewStaticCredentialsProvider("key", "secret", ""),
		Clock: func() time.Time { return time.Now().Add(-ago) },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	login := func() crdt.Key {
		now := crdt.TimeOf(time.Now().Add(-ago))
		var entropy crdt.IDEntropy
		_, _ = rand.Read(entropy[:]) // never fails
		k := crdt.SessionKey(crdt.NewSessionID(now.Add(time.Hour), 1, entropy))
		op := crdt.Op{Stamp: now.Stamp(), Birth: &crdt.Birth{Idle: time.Hour}, User: "ann", Auth: &crdt.Auth{Gen: 1, Cur: crdt.Hash{1}, At: now}}
		if _, err := e.Apply(t.Context(), k, op); err != nil {
			t.Fatal(err)
		}
		return k
	}
	ago = 2 * time.Hour
	for range 9 {
		login()
	}
	ago = 0
	alive := login()
	f := sweeperAt(t, server.Endpoint())
	if err := f.Handle(t.Context(), tick()); err != nil {
		t.Error(err)
	}
	if fields := reported(t, f.out); fields["ItemsDeleted"] != 9.0 || fields["SweepThrough"] != 1.0 {
		t.Errorf("%v, want 9 deleted", fields)
	}
	if r, err := e.Read(t.Context(), alive, crdt.Token{}); err != nil || r.User != "ann" {
		t.Errorf("Read of who is alive = %+v, %v", r, err)
	}
}
