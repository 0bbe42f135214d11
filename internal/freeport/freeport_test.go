package freeport

import (
	"net"
	"testing"
)

func TestAddr(t *testing.T) {
	seen := map[string]bool{}
	for range 100 {
		addr, err := Addr(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if seen[addr] {
			continue // it is free still
		}
		seen[addr] = true
		l, err := net.Listen("tcp", addr)
		if err != nil {
			t.Fatalf("%s is taken: %v", addr, err)
		}
		defer func() { _ = l.Close() }() // it was only held
	}
	if len(seen) < 90 {
		t.Errorf("100 calls found %d addresses: they are to differ", len(seen))
	}
}

// Who has a port, by either protocol, keeps it.
func TestIsFree(t *testing.T) {
	addr, err := Addr(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, listen := range map[string]func() (interface{ Close() error }, error){
		"tcp": func() (interface{ Close() error }, error) { return net.Listen("tcp", addr) },
		"udp": func() (interface{ Close() error }, error) { return net.ListenPacket("udp", addr) },
	} {
		l, err := listen()
		if err != nil {
			t.Fatal(err)
		}
		if free, err := isFree(t.Context(), addr); free || err != nil {
			t.Errorf("taken: free = %v, %v", free, err)
		}
		_ = l.Close() // it was only held
		if free, err := isFree(t.Context(), addr); !free || err != nil {
			t.Errorf("let go: free = %v, %v", free, err)
		}
	}
}
