package lambda

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

const (
	// initTimeout is how long a program may take until it asks for its first invocation,
	// as in Lambda.
	initTimeout = 10 * time.Second
	// mostAnswer bounds a response, in bytes, as Lambda does, and mostLine a line of a log.
	mostAnswer, mostLine = 6 << 20, 256 << 10
	// runtimePath is where the Runtime API begins.
	runtimePath = "/2018-06-01/runtime/"
)

// An invocation is one event on its way through a program.
type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	result   chan result // of one; who answers first wins
}

// A result is what became of an invocation.
type result struct {
	payload []byte
	// failure is "" or Unhandled.
	failure string
}

// failed is a result that tells an error as Lambda does.
func failed(kind, format string, args ...any) result {
	return result{payload: fmt.Appendf(nil, `{"errorType":%q,"errorMessage":%q}`, kind, fmt.Sprintf(format, args...)), failure: "Unhandled"}
}

// A sandbox is one program and the Runtime API that it asks.
type sandbox struct {
	arn string // of its function
	// updates is how often the function had been updated when the program was begun.
	updates int
	server  *http.Server
	events  chan *invocation
	ready   chan struct{} // closed once it asks for the first one
	once    sync.Once
	ended   chan struct{} // closed once the program is gone
	kill    func()
	served  sync.WaitGroup

	mu      sync.Mutex // guards what follows
	current *invocation
	how     error // how it ended
}

// startSandbox starts a program. Say is called with each line that it prints.
func startSandbox(ctx context.Context, arn, dir string, environ []string, say func(line string)) (*sandbox, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sandbox{arn: arn, events: make(chan *invocation), ready: make(chan struct{}), ended: make(chan struct{})}
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+runtimePath+"invocation/next", s.next)
	mux.HandleFunc("POST "+runtimePath+"invocation/{id}/response", s.answer)
	mux.HandleFunc("POST "+runtimePath+"invocation/{id}/error", s.answer)
	mux.HandleFunc("POST "+runtimePath+"init/error", s.initError)
	s.server = &http.Server{Handler: mux, ReadHeaderTimeout: initTimeout}
	s.served.Go(func() { _ = s.server.Serve(l) })        // it ends with close
	cmd := exec.Command(filepath.Join(dir, "bootstrap")) //nolint:gosec,noctx // it is what is to be run; close ends it
	cmd.Dir, cmd.Env, cmd.SysProcAttr = dir, append(slices.Clone(environ), "AWS_LAMBDA_RUNTIME_API="+l.Addr().String()), ownProcess()
	out, err := cmd.StdoutPipe()
	if err != nil {
		s.close()
		return nil, err
	}
	cmd.Stderr = cmd.Stdout
	if err := s.run(cmd, out, say); err != nil {
		close(s.ended)
		s.close()
		return nil, err
	}
	return s, nil
}

// run starts the program and waits for its end on a thread that lasts as long: the kernel
// ends the program with the thread that started it.
func (s *sandbox) run(cmd *exec.Cmd, out io.Reader, say func(line string)) error {
	begun := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		begun <- err
		if err != nil {
			return
		}
		read(out, say)
		err = cmd.Wait()
		s.mu.Lock()
		s.how = err
		s.mu.Unlock()
		close(s.ended)
	}()
	if err := <-begun; err != nil {
		return err
	}
	s.kill = func() { _ = cmd.Process.Kill() } // it may have ended by itself
	return nil
}

// read passes lines on. What is longer than mostLine is cut.
func read(out io.Reader, say func(line string)) {
	r := bufio.NewReaderSize(out, mostLine)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			say(strings.TrimRight(string(line), "\r\n"))
		}
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

// next waits for an event and hands it out.
func (s *sandbox) next(w http.ResponseWriter, r *http.Request) {
	s.once.Do(func() { close(s.ready) })
	select {
	case in := <-s.events:
		s.mu.Lock()
		s.current = in
		s.mu.Unlock()
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", in.id)
		h.Set("Lambda-Runtime-Deadline-Ms", fmt.Sprint(in.deadline.UnixMilli()))
		h.Set("Lambda-Runtime-Trace-Id", "Root=1-00000000-000000000000000000000000;Sampled=0")
		h.Set("Lambda-Runtime-Invoked-Function-Arn", s.arn)
		_, _ = w.Write(in.payload) // a program that is gone is noticed elsewhere
	case <-r.Context().Done():
	case <-s.ended:
	}
}

// answer takes a response or an error. An ID that is not the present one's is refused.
func (s *sandbox) answer(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, mostAnswer+1))
	s.mu.Lock()
	in := s.current
	fits := in != nil && in.id == r.PathValue("id")
	if fits {
		s.current = nil
	}
	s.mu.Unlock()
	switch {
	case !fits:
		http.Error(w, `{"errorType":"InvalidRequestID","errorMessage":"Invalid request ID"}`, http.StatusBadRequest)
		return
	case err != nil:
		in.result <- failed("Runtime.ReadError", "%v", err)
	case len(body) > mostAnswer:
		in.result <- failed("Function.ResponseSizeTooLarge", "Response payload size exceeded maximum allowed payload size (%d bytes).", mostAnswer)
	case strings.HasSuffix(r.URL.Path, "/error"):
		in.result <- result{payload: body, failure: "Unhandled"}
	default:
		in.result <- result{payload: body}
	}
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}

// initError takes note that the program can't begin. It ends by itself then.
func (s *sandbox) initError(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(io.Discard, io.LimitReader(r.Body, mostAnswer)) // its end says enough
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"OK"}`)
}

// do has the program handle an event until a deadline. It returns whether the program can
// be used again; if not it must be closed.
func (s *sandbox) do(ctx context.Context, id string, payload []byte, timeout time.Duration) (result, bool) {
	begin := time.NewTimer(initTimeout)
	defer begin.Stop()
	select {
	case <-s.ready:
	case <-s.ended:
		return s.exited(id), false
	case <-begin.C:
		return failed("Runtime.InitTimeout", "RequestId: %s Error: the program asks for no invocation", id), false
	case <-ctx.Done():
		return failed("Runtime.Ended", "fakeaws ends"), false
	}
	in := &invocation{id: id, payload: payload, deadline: time.Now().Add(timeout), result: make(chan result, 1)}
	end := time.NewTimer(timeout)
	defer end.Stop()
	events := s.events
	for {
		select {
		case events <- in:
			events = nil // handed out
		case r := <-in.result:
			return r, true
		case <-s.ended:
			return s.exited(id), false
		case <-end.C:
			return failed("Sandbox.Timedout", "RequestId: %s Error: Task timed out after %.2f seconds", id, timeout.Seconds()), false
		case <-ctx.Done():
			return failed("Runtime.Ended", "fakeaws ends"), false
		}
	}
}

func (s *sandbox) exited(id string) result {
	s.mu.Lock()
	how := s.how
	s.mu.Unlock()
	if how == nil {
		return failed("Runtime.ExitError", "RequestId: %s Error: Runtime exited without providing a reason", id)
	}
	return failed("Runtime.ExitError", "RequestId: %s Error: Runtime exited with error: %v", id, how)
}

// close kills the program and returns when it is gone.
func (s *sandbox) close() {
	if s.kill != nil {
		s.kill()
		<-s.ended
	}
	_ = s.server.Close() // nobody asks it any more
	s.served.Wait()
}
