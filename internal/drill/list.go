package drill

import (
	"context"
	"fmt"

	"github.com/roam-sessions/roam/internal/admin"
	"github.com/roam-sessions/roam/internal/ledger"
)

// listed asks members for all writes of a receipt, as an operator does.
func (w *world) listed(ctx context.Context, epoch uint64) (out []ledger.Item, err error) {
	var c admin.ClientConfig
	for _, r := range w.regions {
		c.URLs = append(c.URLs, "http://"+r.own.api)
	}
	client, err := admin.NewClient(c)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	err = client.ReceiptItems(ctx, epoch, admin.Listing{
		Head: func(admin.ListHead) error { return nil },
		Item: func(i admin.Item) error {
			out = append(out, ledger.Item{Session: i.Session, Kind: i.Kind, At: i.At, Fate: ledger.Fate(i.Fate)})
			return nil
		},
	})
	if err != nil {
		return nil, fmt.Errorf("all writes of epoch %d: %w", epoch, err)
	}
	return out, nil
}

// misnamed returns where a receipt does not name the first writes of the list of all.
func misnamed(r ledger.Receipt, all []ledger.Item) (out []string) {
	if want := min(len(all), ledger.MaxItems); len(r.Items) != want {
		out = append(out, fmt.Sprintf("the receipt names %d writes, want %d of %d", len(r.Items), want, len(all)))
	}
	for i, named := range r.Items[:min(len(r.Items), len(all))] {
		at := all[i].At
		if all[i].At = named.At; all[i] != named || !at.Equal(named.At) {
			out = append(out, fmt.Sprintf("the receipt names %+v, and the list of all has another one there", named))
		}
		all[i].At = at
	}
	return out
}
