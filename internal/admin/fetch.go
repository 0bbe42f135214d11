package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"
)

// listSilence is how long a list may say nothing: before its first line the member reads
// all of it once, which takes a second for a million items.
const listSilence = 30 * time.Second

// A Listing is told what the whole list of a receipt has. An error of either ends it.
type Listing struct {
	Head func(ListHead) error // once, before the items
	Item func(Item) error
}

// ReceiptItems tells of each item of the whole list of a receipt. It asks each member once,
// first the one that the others say has it. It fails with a *Problem of KindElsewhere if
// that one can't be asked, of KindNotFound if no member keeps the list, or with an error of
// the Listing. Once items were told no other member is asked: a list that is cut short is an
// error.
func (c *Client) ReceiptItems(ctx context.Context, epoch uint64, to Listing) error {
	path := fmt.Sprintf("/v1/receipts/%d/items", epoch)
	left := c.inTurn()
	var failures []error
	var keeper *Problem
	for len(left) > 0 {
		if ctx.Err() != nil {
			return errors.Join(append(failures, ctx.Err())...)
		}
		which := left[0]
		left = left[1:]
		begun, err := c.listOne(ctx, which, path, to)
		if err == nil {
			c.prefer(which)
			return nil
		}
		p, told := errors.AsType[*Problem](err)
		switch {
		case begun:
			return err
		case told && p.Kind == KindElsewhere:
			keeper = p
			// As with the leader: only those that we know are shown the token.
			if at := slices.Index(c.config.URLs, strings.TrimRight(p.KeeperURL, "/")); slices.Contains(left, at) {
				left = append([]int{at}, slices.DeleteFunc(left, func(i int) bool { return i == at })...)
			}
			continue
		case told && p.Kind != KindUnavailable && p.Kind != KindTooMany && p.Kind != KindInternal:
			return err
		}
		failures = append(failures, fmt.Errorf("%s: %w", c.config.URLs[which], err))
	}
	if keeper == nil {
		return fmt.Errorf("no member could be asked: %w", errors.Join(failures...))
	}
	out := *keeper
	out.Detail = fmt.Sprintf("%s has the whole list of epoch %d, and could not be asked", out.Keeper, epoch)
	out.Next, out.Faults = "ask again when "+out.Keeper+" is back", nil
	for _, err := range failures {
		out.Faults = append(out.Faults, err.Error())
	}
	return &out
}

// inTurn returns the members, from the one that answered last on.
func (c *Client) inTurn() (out []int) {
	first := c.preferred()
	for i := range c.config.URLs {
		out = append(out, (first+i)%len(c.config.URLs))
	}
	return out
}

// listOne asks one member for a list. Begun: its head was told.
func (c *Client) listOne(ctx context.Context, which int, path string, to Listing) (begun bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	quiet := time.AfterFunc(listSilence, cancel)
	defer quiet.Stop()
	a, err := c.open(ctx, which, request{method: http.MethodGet, path: path})
	if err != nil {
		return false, err
	}
	defer func() { _ = a.Body.Close() }() // it was read only
	if a.StatusCode != http.StatusOK {
		body, err := io.ReadAll(io.LimitReader(a.Body, maxFile))
		if err != nil {
			return false, fmt.Errorf("read an answer: %w", err)
		}
		p, err := parseProblem(a.StatusCode, body)
		if err != nil {
			return false, err
		}
		return false, p
	}
	head := to.Head
	to.Head = func(h ListHead) error {
		begun = true
		return head(h)
	}
	return begun, parseList(a.Body, func() { quiet.Reset(listSilence) }, to)
}

// parseList reads the lines of a list until its end. It calls alive for each of them. Lines
// of a kind that it does not know are of later versions, and let be.
func parseList(r io.Reader, alive func(), to Listing) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 4<<10), maxLine)
	var head *ListHead
	var told uint64
	for lines.Scan() {
		alive()
		var l Line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			return fmt.Errorf("decode a list: %w", err)
		}
		var err error
		switch {
		case (l.Head == nil) == (head == nil):
			err = errors.New("decode a list: its head is not its first line")
		case l.Head != nil:
			head = l.Head
			err = to.Head(*head)
		case l.Item != nil:
			told++
			err = to.Item(*l.Item)
		case l.End != nil && (l.End.Named != told || head.Named != told):
			err = fmt.Errorf("decode a list: it has %d items, and says %d", told, l.End.Named)
		case l.End != nil:
			return nil
		}
		if err != nil {
			return err
		}
	}
	err := lines.Err()
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read a list: cut short after %d items: %w", told, err)
}
