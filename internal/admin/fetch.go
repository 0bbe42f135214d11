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
	out := unlisted{none: map[int]*Problem{}, at: -1}
	for len(left) > 0 {
		if ctx.Err() != nil {
			return errors.Join(append(out.failures, ctx.Err())...)
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
			// As with the leader: only those that we know are shown the token.
			out.keeper, out.at = p, slices.Index(c.config.URLs, strings.TrimRight(p.KeeperURL, "/"))
			if slices.Contains(left, out.at) {
				left = append([]int{out.at}, slices.DeleteFunc(left, func(i int) bool { return i == out.at })...)
			}
		case told && p.Kind == KindNotFound: // it may lag behind, or be of an earlier version
			out.none[which] = p
		case told && p.Kind != KindUnavailable && p.Kind != KindTooMany && p.Kind != KindInternal:
			return err
		default:
			out.failures = append(out.failures, fmt.Errorf("%s: %w", c.config.URLs[which], err))
		}
	}
	return out.err(epoch)
}

// An unlisted is what members said that did not tell a list.
type unlisted struct {
	keeper   *Problem         // the last that says who has it
	at       int              // which one that is; -1: none that is known
	none     map[int]*Problem // those that say that there is none
	failures []error          // of those that could not be asked
}

// err says why there is no list: the word of whoever should have it counts.
func (u *unlisted) err(epoch uint64) error {
	if u.keeper != nil && u.none[u.at] == nil {
		p := *u.keeper
		p.Detail = fmt.Sprintf("%s has the whole list of epoch %d, and could not be asked", p.Keeper, epoch)
		p.Next, p.Faults = "ask again when "+p.Keeper+" is back", nil
		for _, err := range u.failures {
			p.Faults = append(p.Faults, err.Error())
		}
		return &p
	}
	if u.keeper != nil {
		return u.none[u.at]
	}
	for _, p := range u.none {
		return p
	}
	return fmt.Errorf("no member could be asked: %w", errors.Join(u.failures...))
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
