//go:build linux

package freeport

import (
	"net"
	"testing"
)

// Nobody is given what another one was, and each can listen. How long other systems remember is
// theirs.
func TestAddr(t *testing.T) {
	seen := map[string]bool{}
	for range 300 {
		addr, err := Addr(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if isFree(t.Context(), addr) {
			t.Errorf("%s would be given again", addr)
		}
		if seen[addr] {
			t.Errorf("%s was given twice", addr)
		}
		seen[addr] = true
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Errorf("nobody can listen at %s: %v", addr, err)
			continue
		}
		_ = l.Close() // it was only tried
	}
}

// Who has a port, by either protocol, keeps it.
func TestIsFree(t *testing.T) {
	stream, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if isFree(t.Context(), stream.Addr().String()) {
		t.Error("a port that TCP has is free")
	}
	_ = stream.Close() // nobody came
	if !isFree(t.Context(), stream.Addr().String()) {
		t.Error("a port that was let go is not free")
	}
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = packets.Close() }() // nothing was sent
	if isFree(t.Context(), packets.LocalAddr().String()) {
		t.Error("a port that UDP has is free")
	}
}
