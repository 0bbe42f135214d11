package freeport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strconv"
)

const (
	// first and last bound the ports. They are below those that systems give to whoever
	// dials or listens at port 0 (Linux: from 32768 on, macOS: from 49152 on): so nobody is
	// given one between being found and being listened at.
	first, last = 12000, 32000
	// mostTries bounds how many ports are looked at.
	mostTries = 1000
)

var errNone = errors.New("no port of this machine is free")

// Addr returns a loopback address, host:port, at which nobody listens, by TCP or UDP. For a
// minute, or less where systems forget sooner, nobody is given it again, in this process or
// another; whoever listens as servers do, with SO_REUSEADDR, can.
func Addr(ctx context.Context) (string, error) {
	for range mostTries {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first))) //nolint:gosec // it guards nothing
		if isFree(ctx, addr) && mark(ctx, addr) == nil {
			return addr, nil
		}
		if err := ctx.Err(); err != nil {
			return "", fmt.Errorf("look for a free port: %w", err)
		}
	}
	return "", fmt.Errorf("look for a free port from %d to %d: %w", first, last, errNone)
}

// Port returns the port of such an address.
func Port(ctx context.Context) (string, error) {
	addr, err := Addr(ctx)
	if err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(addr)
	return port, err
}

// isFree listens as one who shares with nobody, not with a connection that was closed a moment
// ago either, and lets go.
func isFree(ctx context.Context, addr string) bool {
	stream, err := (&net.ListenConfig{Control: alone}).Listen(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	defer func() { _ = stream.Close() }() // nobody has come
	packets, err := (&net.ListenConfig{}).ListenPacket(ctx, "udp", addr)
	if err != nil {
		return false
	}
	return packets.Close() == nil
}

// mark has an address look taken to isFree for a while: whoever closes a connection first is
// left waiting for what may still be on its way (TIME_WAIT).
func mark(ctx context.Context, addr string) error {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = l.Close() }() // one has come, and went
	client, err := (&net.Dialer{}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer func() { _ = client.Close() }() // second
	server, err := l.Accept()
	if err != nil {
		return err
	}
	if err := server.Close(); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, client) // until it knows
	return err
}
