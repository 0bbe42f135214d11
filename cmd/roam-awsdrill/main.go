package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/roam-sessions/roam/internal/awsdrill"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := awsdrill.Main(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
