package admin

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"time"

	"github.com/roam-sessions/roam/internal/ledger"
	"github.com/roam-sessions/roam/internal/receipt"
)

// ndjson is the type of lines of JSON.
const ndjson = "application/x-ndjson"

// items serves the whole list of a receipt, line by line. What goes wrong after its first
// line ends it without its last one.
func (a *api) items(w http.ResponseWriter, r *http.Request) {
	leave, err := take(a.readers, "too many read lists here")
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	defer leave()
	of, err := a.receiptAt(r)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	list, err := a.list(of)
	if err != nil {
		a.refuse(w, r, err)
		return
	}
	defer func() { _ = list.Close() }() // it was read only
	w.Header().Set("Content-Type", ndjson)
	if err := tellList(w, of, list); err != nil {
		a.Log.Debug("the list of a receipt was not told to its end", "epoch", of.Epoch, "err", err) // whoever asked is gone
	}
}

// list opens the whole list of a receipt.
func (a *api) list(of ledger.Receipt) (*receipt.List, error) {
	list, err := a.Lists.Open(of.Epoch)
	if err != nil {
		return nil, a.unlisted(of, err)
	}
	var why string
	switch {
	case list.Head() != receipt.Head{Epoch: of.Epoch, From: of.From, To: of.To}:
		why = "what is kept is of another failover"
	case !of.Closed.IsZero() && !maps.Equal(list.End().Counts, counted(of)):
		why = "what is kept is of a look before the last one"
	default:
		return list, nil
	}
	_ = list.Close() // it was read only
	return nil, a.unlisted(of, fmt.Errorf("%w: %s", receipt.ErrNone, why))
}

// counted returns what a receipt counts, without zeros.
func counted(of ledger.Receipt) map[ledger.Fate]uint64 {
	out := maps.Clone(of.Counts)
	maps.DeleteFunc(out, func(_ ledger.Fate, n uint64) bool { return n == 0 })
	return out
}

// unlisted says why there is no list here, and who has it.
func (a *api) unlisted(of ledger.Receipt, err error) error {
	if a.member.Status().Self != of.From {
		return &Problem{
			Kind: KindElsewhere, Detail: fmt.Sprintf("the whole list of epoch %d is not here: %s has it", of.Epoch, of.From), Next: "ask " + of.From,
			Keeper: of.From, KeeperURL: a.Members[of.From],
		}
	}
	p := &Problem{Kind: KindNotFound, Detail: err.Error(), Next: "its receipt names the first writes, and counts all"}
	if of.Closed.IsZero() {
		p.Detail, p.Next = fmt.Sprintf("the writes of epoch %d were not looked at yet", of.Epoch), "wait until its receipt is complete"
	}
	if !errors.Is(err, receipt.ErrNone) {
		a.Log.Error("the whole list of a receipt can't be read", "epoch", of.Epoch, "err", err)
		p.Detail = fmt.Sprintf("the whole list of epoch %d can't be read", of.Epoch)
		p.Next = "see this member's log; its receipt names the first writes, and counts all"
	}
	return p
}

// tellList writes a list to somebody who must read as fast as an answer's.
func tellList(w http.ResponseWriter, of ledger.Receipt, list *receipt.List) error {
	out := bufio.NewWriterSize(&patient{w, http.NewResponseController(w), time.Now().Add(listTime)}, 32<<10)
	lines := json.NewEncoder(out)
	end := list.End()
	head := &ListHead{Receipt: receiptOf(of), Counts: map[string]uint64{}, Named: end.Named, More: end.More}
	for fate, n := range end.Counts {
		head.Counts[string(fate)] = n
	}
	if err := lines.Encode(Line{Head: head}); err != nil {
		return err
	}
	for {
		i, err := list.Next()
		if err == io.EOF { //nolint:errorlint // it is returned as it is
			break
		}
		if err != nil {
			return err
		}
		item := itemOf(i)
		if err := lines.Encode(Line{Item: &item}); err != nil {
			return err
		}
	}
	if err := lines.Encode(Line{End: &ListEnd{Named: end.Named}}); err != nil {
		return err
	}
	return out.Flush()
}

// A patient is who is told much: each part of it has as long as an answer, until an end.
type patient struct {
	to      io.Writer
	control *http.ResponseController
	end     time.Time
}

func (p *patient) Write(b []byte) (int, error) {
	deadline := time.Now().Add(answerTime)
	if deadline.After(p.end) {
		deadline = p.end
	}
	_ = p.control.SetWriteDeadline(deadline) // whoever serves has deadlines
	return p.to.Write(b)
}
