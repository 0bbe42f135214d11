package valkey

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// Rest has a primary take no writes for a while, whoever asks, and say nothing to its
// replicas: none gets ahead of another. It is for between Mark and Follow: what others
// still write then, such as an echo's number, would make it differ from the next primary,
// which would have to give it all data anew. It ends by itself.
func (c *Chain) Rest(ctx context.Context, while time.Duration) error {
	err := c.do(ctx, func() error {
		_, err := c.ask(ctx, "CLIENT", "PAUSE", strconv.FormatInt(while.Milliseconds(), 10), "WRITE")
		return err
	})
	if err != nil {
		return fmt.Errorf("rest: %w", err)
	}
	return nil
}

// Wake ends what Rest began.
func (c *Chain) Wake(ctx context.Context) error {
	err := c.do(ctx, func() error {
		_, err := c.ask(ctx, "CLIENT", "UNPAUSE")
		return err
	})
	if err != nil {
		return fmt.Errorf("wake: %w", err)
	}
	return nil
}
