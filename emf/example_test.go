package emf_test

import (
	"context"
	"os"

	"github.com/roam-sessions/roam"
	"github.com/roam-sessions/roam/emf"
)

func ExampleReporter() {
	reporter, err := emf.New(os.Stdout, emf.Config{Region: "us-west-2"})
	if err != nil {
		panic(err)
	}
	go func() { _ = reporter.Run(context.Background()) }() // for as long as the program runs
	config := roam.Config{Observe: reporter.Observe}       // and all else that it needs
	_ = config
}
