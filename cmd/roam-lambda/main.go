package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/roam-sessions/roam/internal/awslambda"
)

func main() {
	f, err := awslambda.Load(context.Background(), os.Getenv, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "roam-lambda:", err)
		os.Exit(2)
	}
	lambda.Start(func(ctx context.Context, event json.RawMessage) error { return f.Handle(ctx, event) })
}
