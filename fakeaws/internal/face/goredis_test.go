//go:build integration

package face

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// A client of other hands, which asks for CLUSTER SLOTS, is led to all nodes too.
func TestAnotherClient(t *testing.T) {
	c := begin(t, 3)
	for _, protocol := range []int{2, 3} {
		client := redis.NewClusterClient(&redis.ClusterOptions{
			Addrs: []string{c.faces[1][1].Addr()}, Password: password, Protocol: protocol, ReadOnly: protocol == 3,
		})
		writes(t, client, protocol == 3)
		ctx := t.Context()
		heard := client.SSubscribe(ctx, "news")
		if _, err := heard.Receive(ctx); err != nil {
			t.Fatal(err)
		}
		if err := client.SPublish(ctx, "news", "hello").Err(); err != nil {
			t.Error(err)
		}
		if m, err := heard.ReceiveMessage(ctx); err != nil || m.Payload != "hello" {
			t.Errorf("heard %v, %v", m, err)
		}
		if err := errors.Join(heard.Close(), client.Close()); err != nil {
			t.Error(err)
		}
	}
}

// writes writes keys of all shards, and reads them, from replicas that may lack some.
func writes(t *testing.T, client *redis.ClusterClient, replicas bool) {
	t.Helper()
	ctx := t.Context()
	pipe := client.Pipeline()
	for i := range 100 {
		pipe.Set(ctx, fmt.Sprintf("key-%d", i), i, 0)
	}
	if _, err := pipe.Exec(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 100 {
		got, err := client.Get(ctx, fmt.Sprintf("key-%d", i)).Result()
		if lacks := replicas && errors.Is(err, redis.Nil); !lacks && (err != nil || got != fmt.Sprint(i)) {
			t.Errorf("key %d: %q, %v", i, got, err)
		}
	}
	_, err := client.TxPipelined(ctx, func(p redis.Pipeliner) error {
		p.Incr(ctx, "{n}1")
		p.Incr(ctx, "{n}2")
		return nil
	})
	if err != nil {
		t.Errorf("a transaction: %v", err)
	}
	if err := client.MGet(ctx, "a", "b", "c").Err(); err == nil || !strings.HasPrefix(err.Error(), "CROSSSLOT") {
		t.Errorf("several slots: %v", err)
	}
}
