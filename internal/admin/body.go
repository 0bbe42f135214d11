package admin

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"time"
	"unicode"
)

const (
	// maxBody bounds what is asked by JSON: a hundred controls are less.
	maxBody = 64 << 10
	// maxFile bounds a roam.yaml, and what a Client reads of an answer.
	maxFile = 1 << 20
	// maxBy bounds who asks.
	maxBy = 100
)

// A call is one request.
type call struct {
	*http.Request
	w   http.ResponseWriter
	who identity
}

// An answer is what is told, if all is well.
type answer struct {
	status int // zero: 200
	body   any
	raw    []byte // JSON that is ready
	tag    string // for the header ETag
}

func (a *api) answer(w http.ResponseWriter, out answer) {
	body := out.raw
	if body == nil {
		var err error
		if body, err = json.Marshal(out.body); err != nil {
			a.Log.Error("encode an answer", "err", err)
			http.Error(w, "an answer can't be encoded", http.StatusInternalServerError)
			return
		}
	}
	if out.tag != "" {
		w.Header().Set("ETag", out.tag)
	}
	w.Header().Set("Content-Type", "application/json")
	if out.status == 0 {
		out.status = http.StatusOK
	}
	write(w, out.status, body)
}

// write sends an answer, in the time that there is for it.
func write(w http.ResponseWriter, status int, body []byte) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTime)) // whoever serves has deadlines
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // whoever asked is gone
}

// text reads a body of a type, and not more than there may be of it.
func (c *call) text(types []string, most int64) ([]byte, error) {
	kind, _, err := mime.ParseMediaType(c.Header.Get("Content-Type"))
	ok := false
	for _, t := range types {
		ok = ok || err == nil && kind == t
	}
	if !ok {
		return nil, &Problem{Kind: KindMedia, Detail: "it has another Content-Type, or none", Next: "send " + types[0]}
	}
	b, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, most))
	if _, long := errors.AsType[*http.MaxBytesError](err); long {
		return nil, &Problem{Kind: KindTooLarge, Detail: fmt.Sprintf("it has more than %d bytes", most), Next: "send less"}
	}
	if err != nil {
		return nil, &Problem{Kind: KindRequest, Detail: "it ends too early", Next: "send all of it"}
	}
	return b, nil
}

// json reads a body of JSON into what is asked for. One that is empty asks for nothing in
// particular.
func (c *call) json(into any) error {
	if c.ContentLength == 0 {
		return nil
	}
	b, err := c.text([]string{"application/json"}, maxBody)
	if err != nil {
		return err
	}
	return decode(b, into)
}

// decode reads one JSON value, and no names that it does not know: whoever misspells
// dry_run does not mean it to be done.
func decode(b []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	err := d.Decode(into)
	if err == nil {
		if _, end := d.Token(); !errors.Is(end, io.EOF) {
			err = errors.New("more behind it")
		}
	}
	if err != nil {
		return &Problem{Kind: KindRequest, Detail: "it is not the JSON that is wanted: " + err.Error(), Next: "see /v1/openapi.json"}
	}
	return nil
}

// by says who asks, for events: the name of the token, and what else is said.
func (c *call) by(note string) (string, error) {
	if note == "" {
		return c.who.name, nil
	}
	if len(note) > maxBy || bytes.ContainsFunc([]byte(note), func(r rune) bool { return !unicode.IsPrint(r) }) {
		return "", &Problem{Kind: KindInvalid, Detail: fmt.Sprintf("by: want at most %d bytes of printable text", maxBy), Next: "shorten it"}
	}
	return c.who.name + " (" + note + ")", nil
}

// number returns a number of the query, between bounds, or what stands for none.
func (c *call) number(name string, none, most uint64) (uint64, error) {
	text := c.URL.Query().Get(name)
	if text == "" {
		return none, nil
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil || n > most {
		return 0, &Problem{Kind: KindRequest, Detail: fmt.Sprintf("%s: want a number from 0 to %d", name, most), Next: "mend it, or leave it out"}
	}
	return n, nil
}
