package awslambda

import (
	"bytes"
	"context"
	"fmt"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"

	"github.com/roam-sessions/roam/internal/awstest"
)

const table = "sessions-sessions"

func sweeper() Config {
	return Config{Function: Sweep, Place: Place{Region: west2}, Namespace: "SessionStore", Table: table}
}

// swept is a world with a table in which all but one item are past their time.
func swept() *awstest.World {
	w := &awstest.World{Dynamo: awstest.Dynamo{Table: table, Items: map[string]int64{"alive": time.Now().Add(time.Hour).Unix()}}}
	for i := range 20 {
		w.Dynamo.Items[fmt.Sprint("over ", i)] = time.Now().Add(-time.Minute).Unix()
	}
	return w
}

// A served sweeper asks over a socket, and keeps what it reports.
type served struct {
	*Sweeper
	out *bytes.Buffer
}

func serveSweeper(t *testing.T, w *awstest.World) served {
	t.Helper()
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	return sweeperAt(t, server.URL)
}

func sweeperAt(t *testing.T, endpoint string) served {
	t.Helper()
	out := &bytes.Buffer{}
	f, err := New(sweeper(), aws.Config{Credentials: credentials.NewStaticCredentialsProvider(awstest.KeyID, awstest.Secret, "")}, "", out)
	if err != nil {
		t.Fatal(err)
	}
	s := f.(*Sweeper)
	s.table.Endpoint = endpoint
	return served{s, out}
}

func TestSweep(t *testing.T) {
	w := swept()
	f := serveSweeper(t, w)
	for _, deleted := range []float64{20, 0} {
		if err := f.Handle(t.Context(), tick()); err != nil || w.Unsigned > 0 {
			t.Errorf("Handle = %v, %d not signed", err, w.Unsigned)
		}
		fields := reported(t, f.out)
		if fields["ItemsDeleted"] != deleted || fields["SweepThrough"] != 1.0 || fields["Failed"] != 0.0 || fields["Table"] != table || fields["Region"] != west2 {
			t.Errorf("%v, want %v deleted", fields, deleted)
		}
	}
	if _, alive := w.Dynamo.Items["alive"]; !alive || len(w.Dynamo.Items) != 1 {
		t.Errorf("%v are left, want who is alive", w.Dynamo.Items)
	}
	w.Forget()
	if err := f.Handle(t.Context(), []byte(`{"source":"aws.s3"}`)); err != nil || len(w.Calls()) > 0 {
		t.Errorf("Handle of another's event = %v, and %d calls", err, len(w.Calls()))
	}
	if fields := reported(t, f.out); fields["EventForeign"] != 1.0 || fields["SweepThrough"] != nil {
		t.Errorf("%v", fields)
	}
}

// A sweep that is cut off has not failed, and says that it has not got through; the next one goes on.
func TestSweepIsCutOff(t *testing.T) {
	w := swept()
	w.Fate = func(c awstest.Call) awstest.Fate {
		return awstest.Fate{Hang: c.Action == "DeleteItem" && len(w.Dynamo.Items) <= 10}
	}
	f := serveSweeper(t, w)
	ctx, cancel := context.WithTimeout(t.Context(), sweepSpare+2*time.Second)
	defer cancel()
	begun := time.Now()
	err := f.Handle(ctx, tick())
	if took := time.Since(begun); err != nil || ctx.Err() != nil || took > sweepSpare {
		t.Errorf("Handle = %v after %v, want it to end in time", err, took)
	}
	fields := reported(t, f.out)
	if fields["SweepThrough"] != 0.0 || fields["Failed"] != 0.0 || fields["reason"] == nil {
		t.Errorf("%v", fields)
	}
	w.Lock(func() { w.Fate = nil })
	if err := f.Handle(t.Context(), tick()); err != nil || len(w.Dynamo.Items) != 1 {
		t.Errorf("Handle = %v, and %d items are left, want one", err, len(w.Dynamo.Items))
	}
	if fields := reported(t, f.out); fields["ItemsDeleted"].(float64) < 9 || fields["SweepThrough"] != 1.0 {
		t.Errorf("%v", fields)
	}
}

func TestSweepFails(t *testing.T) {
	for name, c := range map[string]struct {
		change func(w *awstest.World)
		again  bool // Lambda is asked to come again
	}{
		"no such table": {func(w *awstest.World) { w.Dynamo.Table = "carts" }, true},
		"no right to delete": {func(w *awstest.World) {
			w.Fate = func(c awstest.Call) awstest.Fate { return code(c.Action == "DeleteItem", "AccessDeniedException") }
		}, true},
		"DynamoDB is away": {func(w *awstest.World) {
			w.Fate = func(awstest.Call) awstest.Fate { return awstest.Fate{Lost: true} }
		}, true},
		"an item that nobody can read": {func(w *awstest.World) { w.Dynamo.Items["odd"] = -1 }, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := swept()
			c.change(w)
			f := serveSweeper(t, w)
			err := f.Handle(t.Context(), tick())
			fields := reported(t, f.out)
			if (err != nil) != c.again || fields["Failed"] != 1.0 || fields["SweepThrough"] != 0.0 || fields["error"] == nil {
				t.Errorf("Handle = %v, %v", err, fields)
			}
		})
	}
}
