package freeport

import (
	"context"
	"errors"
	"fmt"
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

// Addr returns a loopback address, host:port, at which nobody listens, by TCP or UDP. They
// are drawn, so that programs that look at the same time find different ones.
func Addr(ctx context.Context) (string, error) {
	for range mostTries {
		addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(first+rand.IntN(last-first))) //nolint:gosec // it guards nothing
		free, err := isFree(ctx, addr)
		if err != nil {
			return "", fmt.Errorf("look for a free port: %w", err)
		}
		if free {
			return addr, nil
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

// isFree listens, and lets go.
func isFree(ctx context.Context, addr string) (bool, error) {
	var listen net.ListenConfig
	stream, err := listen.Listen(ctx, "tcp", addr)
	if err != nil {
		return false, ctx.Err() // somebody has it
	}
	defer func() { _ = stream.Close() }() // nobody has come
	packets, err := listen.ListenPacket(ctx, "udp", addr)
	if err != nil {
		return false, ctx.Err()
	}
	return true, packets.Close()
}
