package clock

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestManualCallsInOrder(t *testing.T) {
	begun := time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)
	m := NewManual(begun)
	var got []string
	note := func(what string) func() {
		return func() { got = append(got, what+" "+m.Now().Sub(begun).String()) }
	}
	m.AfterFunc(3*time.Second, note("c"))
	m.AfterFunc(time.Second, func() {
		note("a")()
		m.AfterFunc(time.Second, note("b"))
	})
	stop := m.AfterFunc(2*time.Second, note("never"))
	m.AfterFunc(3*time.Second, note("d"))
	m.AfterFunc(time.Minute, note("late"))
	if !stop() || stop() {
		t.Error("stop = false then true, want true then false")
	}
	m.Advance(5 * time.Second)
	if want := []string{"a 1s", "b 2s", "c 3s", "d 3s"}; !slices.Equal(got, want) {
		t.Errorf("called %q, want %q", got, want)
	}
	if at := m.Now().Sub(begun); at != 5*time.Second {
		t.Errorf("it is %v later, want 5s", at)
	}
}

func TestAgendaEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := NewAgenda(t.Context(), Real{})
		var ran, ended bool
		a.After(time.Second, func(ctx context.Context) {
			ran = true
			<-ctx.Done()
			time.Sleep(time.Second)
			ended = true
		})
		a.After(time.Hour, func(context.Context) { t.Error("called after Close") })
		time.Sleep(2 * time.Second)
		a.Close()
		if !ran || !ended {
			t.Errorf("ran %v, ended %v, want both when Close returns", ran, ended)
		}
		if a.After(0, func(context.Context) {}) || a.Go(func(context.Context) {}) {
			t.Error("a closed agenda takes more")
		}
		time.Sleep(2 * time.Hour)
	})
}

func TestAgendaIsBounded(t *testing.T) {
	a := NewAgenda(t.Context(), NewManual(time.Time{}))
	defer a.Close()
	for range mostPlanned {
		if !a.After(time.Second, func(context.Context) {}) {
			t.Fatal("refused before it is full")
		}
	}
	if a.After(time.Second, func(context.Context) {}) {
		t.Error("takes more than it holds")
	}
}
