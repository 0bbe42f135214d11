package feed

import (
	"bufio"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// ask asks a host for its feed.
func ask(t *testing.T, h *hosts) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, near, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := h.client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = answer.Body.Close() }) // it was read only
	return answer
}

// next returns the next line of a stream, and when it came.
func next(t *testing.T, lines *bufio.Scanner) (Line, time.Time) {
	t.Helper()
	if !lines.Scan() {
		t.Fatalf("the stream ended: %v", lines.Err())
	}
	l, err := ParseLine(lines.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	return l, time.Now()
}

func TestStream(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		b := newBoard(at(1, 1))
		h.up(nearH, Handler(b))
		begun := time.Now()
		answer := ask(t, h)
		if got := answer.Header; got.Get("Content-Type") != contentType || got.Get("Cache-Control") != "no-store" {
			t.Errorf("headers = %v", got)
		}
		lines := bufio.NewScanner(answer.Body)
		if l, when := next(t, lines); !equal(l.View, at(1, 1)) || !when.Equal(begun) {
			t.Errorf("first line = %+v after %v, want the View at once", l, when.Sub(begun))
		}
		for n := uint64(1); n <= 3; n++ {
			if l, when := next(t, lines); l.Beat != n || when.Sub(begun) != time.Duration(n)*time.Second {
				t.Errorf("line = %+v after %v, want beat %d", l, when.Sub(begun), n)
			}
		}
		b.put(at(1, 2))
		if l, when := next(t, lines); !equal(l.View, at(1, 2)) || when.Sub(begun) != 3*time.Second {
			t.Errorf("line = %+v after %v, want the change at once", l, when.Sub(begun))
		}
		b.put(at(1, 2)) // which is none
		synctest.Wait()
		b.put(at(1, 1)) // nor is this
		if l, _ := next(t, lines); l.Beat != 4 {
			t.Errorf("line = %+v, want beat 4", l)
		}
		b.doubt(true)
		go func() {
			time.Sleep(9500 * time.Millisecond)
			b.put(at(2, 1))
			b.doubt(false)
		}()
		if l, when := next(t, lines); !equal(l.View, at(2, 1)) || when.Sub(begun) != 13500*time.Millisecond {
			t.Errorf("line = %+v after %v, want no beat of a node in doubt", l, when.Sub(begun))
		}
		if l, _ := next(t, lines); l.Beat != 5 {
			t.Errorf("line = %+v, want beat 5", l)
		}
	}))
}

// big is a View that takes half of what a line may.
func big() View {
	v := at(1, 2)
	v.Version, v.File = 1, string(make([]byte, MaxBytes/16)) // six bytes each
	return v
}

// Whoever reads nothing is cut off.
func TestWhoReadsNothingIsCutOff(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		b, left := newBoard(at(1, 1)), make(chan time.Time, 1)
		handler := Handler(b)
		h.up(nearH, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler.ServeHTTP(w, r)
			left <- time.Now()
		}))
		ask(t, h)
		synctest.Wait()
		begun := time.Now()
		b.put(big())
		if took := (<-left).Sub(begun); took < lineTimeout || took > lineTimeout+2*beatEvery {
			t.Errorf("it was cut off after %v, want %v", took, lineTimeout)
		}
	}))
}

// Whoever reads slowly gets the last of the changes that came meanwhile.
func TestChangesThatComeTogetherAreOne(t *testing.T) {
	synctest.Test(t, among(func(t *testing.T, h *hosts) {
		b := newBoard(at(1, 1))
		h.up(nearH, Handler(b))
		lines := bufio.NewScanner(ask(t, h).Body)
		lines.Buffer(nil, MaxBytes)
		next(t, lines)
		b.put(big())
		synctest.Wait() // its sending has begun
		for i := range uint64(100) {
			b.put(at(1, 3+i))
		}
		if l, _ := next(t, lines); l.View.Index != 2 {
			t.Errorf("line = %d bytes of index %d, want the one that was being sent", len(l.View.File), l.View.Index)
		}
		if l, _ := next(t, lines); !equal(l.View, at(1, 102)) {
			t.Errorf("after a hundred changes: %+v, want the last one", l.View)
		}
	}))
}

func TestOnce(t *testing.T) {
	b := newBoard(View{})
	server := httptest.NewServer(Handler(b))
	defer server.Close()
	get := func(method string, want int) string {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+"?once", nil)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }() // it was read only
		if answer.StatusCode != want {
			t.Errorf("%s = %s, want %d", method, answer.Status, want)
		}
		text, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Error(err)
		}
		return string(text)
	}
	get(http.MethodGet, http.StatusServiceUnavailable)
	get(http.MethodPost, http.StatusMethodNotAllowed)
	b.put(full())
	if got, want := get(http.MethodGet, http.StatusOK), string(line(t, full())); got != want {
		t.Errorf("the body is %s, want %s", got, want)
	}
}
