package lambda

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
)

const (
	// mostFunctions bounds the functions of all Regions, mostConcurrent the programs of one,
	// and mostLines the lines of its log that are kept; the oldest is forgotten.
	mostFunctions, mostConcurrent, mostLines = 100, 10, 1000
	// maxTimeout is the longest that a function may take: 15 minutes.
	maxTimeout = 15 * time.Minute
	// mostPackage bounds a request that has a deployment package in it, in bytes.
	mostPackage = 70 << 20
)

// functionName is what functions may be called.
var functionName = regexp.MustCompile(`^[a-zA-Z0-9-_]{1,64}$`)

// A Config is what a Fake is made of.
type Config struct {
	// Clock is what retries and schedules go by.
	Clock clock.Clock
	// Account is whose functions they are.
	Account string
	// Regions are those that have functions.
	Regions []string
	// Dir is where deployment packages are unpacked; it must be there.
	Dir string
	// Environ returns more of the environment, such as the keys that a role signs with.
	Environ func(region, role string) []string
	// Print is called with each line that a function prints.
	Print func(region, function, line string)
	// Bury keeps an event that failed for good. Queue is where it was to go.
	Bury func(queue, function, body, why string)
	// Scale is by how much the times between tries are multiplied. Default: 1.
	Scale float64
}

// A Function is a function as one may describe it.
type Function struct {
	// Name and Region say which it is.
	Name, Region string
	// Role is the ARN of who it is.
	Role string
	// Bootstrap is the program's path; "" if it comes in a package.
	Bootstrap string
	// Handler is what the program is told to be. Default: bootstrap.
	Handler string
	// Env has more of its environment.
	Env map[string]string
	// Timeout is how long an invocation may take. Default: 3 s. At most 15 minutes.
	Timeout time.Duration
	// Memory is in MB. It is told, and not enforced. Default: 128.
	Memory int
	// Concurrent is how many programs may run at once: 1 to 10. Default: 10.
	Concurrent int
	// Retries is how often an event that failed is tried again: 0 to 2. -1 is none; the
	// default, 0, is 2.
	Retries int
	// MaxAge is how old an event may get. Default: 6 hours.
	MaxAge time.Duration
	// Queue is the ARN of where an event goes that failed for good.
	Queue string
	// Invokers are the services that may invoke it, such as sns.amazonaws.com.
	Invokers []string
}

// A function is a function with its programs.
type function struct {
	Function
	arn, dir string
	made     time.Time
	idle     []*sandbox
	running  int
	closing  bool
	reserved bool // somebody said how many programs may run at once
	updates  int  // of its configuration; programs of an older one end when they are done
	lines    []string
}

// A Fake is Lambda in all Regions. Goroutines may share it.
type Fake struct {
	config Config
	agenda *clock.Agenda

	mu        sync.Mutex // guards what follows
	functions map[string]*function
	schedules int
}

// New returns a fake without functions. Close ends what it has begun.
func New(ctx context.Context, c Config) *Fake {
	if c.Scale == 0 {
		c.Scale = 1
	}
	return &Fake{config: c, agenda: clock.NewAgenda(ctx, c.Clock), functions: map[string]*function{}}
}

// Close ends all programs and returns when they have ended.
func (f *Fake) Close() {
	f.agenda.Close()
	f.mu.Lock()
	var all []*sandbox
	for _, fn := range f.functions {
		all = append(all, fn.idle...)
		fn.idle, fn.closing = nil, true
	}
	f.mu.Unlock()
	for _, s := range all {
		s.close()
	}
}

// defaults fills in what was not said, and judges the rest.
func (fn *Function) defaults() error {
	if fn.Timeout == 0 {
		fn.Timeout = 3 * time.Second
	}
	if fn.Memory == 0 {
		fn.Memory = 128
	}
	if fn.Concurrent == 0 {
		fn.Concurrent = mostConcurrent
	}
	if fn.MaxAge == 0 {
		fn.MaxAge = 6 * time.Hour
	}
	if fn.Handler == "" {
		fn.Handler = "bootstrap"
	}
	switch fn.Retries {
	case 0:
		fn.Retries = 2
	case -1:
		fn.Retries = 0
	}
	if fn.Concurrent < 1 {
		return badParameter("ReservedConcurrentExecutions %d is below 1", fn.Concurrent)
	}
	return fn.judge()
}

// judge says what is wrong with a function. Concurrency may be set to 0 later: then it is off.
func (fn *Function) judge() error {
	switch {
	case !functionName.MatchString(fn.Name):
		return badParameter("FunctionName %.80q", fn.Name)
	case fn.Timeout < time.Second || fn.Timeout > maxTimeout:
		return badParameter("Timeout %v is not from 1 s to 15 minutes", fn.Timeout)
	case fn.Concurrent < 0 || fn.Concurrent > mostConcurrent:
		return badParameter("ReservedConcurrentExecutions %d is not from 0 to %d", fn.Concurrent, mostConcurrent)
	case fn.Retries < 0 || fn.Retries > 2:
		return badParameter("MaximumRetryAttempts %d is not from 0 to 2", fn.Retries)
	case fn.MaxAge < time.Minute || fn.MaxAge > 6*time.Hour:
		return badParameter("MaximumEventAgeInSeconds %v is not from a minute to 6 hours", fn.MaxAge)
	}
	return nil
}

func badParameter(format string, args ...any) error {
	return door.Faultf(http.StatusBadRequest, "InvalidParameterValueException", format, args...)
}

func notFound(arn string) error {
	return door.Faultf(http.StatusNotFound, "ResourceNotFoundException", "Function not found: %s", arn)
}

// ARN is a function's.
func (f *Fake) ARN(region, name string) string {
	return fmt.Sprintf("arn:aws:lambda:%s:%s:function:%s", region, f.config.Account, name)
}

// Put makes a function of a program that is there.
func (f *Fake) Put(spec Function) (arn string, err error) {
	if err := spec.defaults(); err != nil {
		return "", err
	}
	path, err := filepath.Abs(spec.Bootstrap)
	if err != nil {
		return "", err
	}
	// A program is called bootstrap in there, whatever it is called where it was built.
	dir, err := os.MkdirTemp(f.config.Dir, spec.Name+"-")
	if err != nil {
		return "", err
	}
	if err := os.Symlink(path, filepath.Join(dir, "bootstrap")); err != nil {
		return "", err
	}
	return f.add(spec, dir)
}

func (f *Fake) add(spec Function, dir string) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fn := &function{Function: spec, arn: f.ARN(spec.Region, spec.Name), dir: dir, made: f.agenda.Now()}
	switch {
	case f.functions[fn.arn] != nil:
		return "", door.Faultf(http.StatusConflict, "ResourceConflictException", "Function already exist: %s", spec.Name)
	case len(f.functions) >= mostFunctions:
		return "", door.Faultf(http.StatusBadRequest, "CodeStorageExceededException", "fakeaws has at most %d functions", mostFunctions)
	}
	f.functions[fn.arn] = fn
	return fn.arn, nil
}

// Log returns the last lines that a function printed: at most 1,000, the oldest first.
func (f *Fake) Log(arn string) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if fn := f.functions[arn]; fn != nil {
		return slices.Clone(fn.lines)
	}
	return nil
}

// print keeps a line and passes it on.
func (f *Fake) print(fn *function, line string) {
	f.mu.Lock()
	if len(fn.lines) >= mostLines {
		fn.lines = slices.Delete(fn.lines, 0, 1)
	}
	fn.lines = append(fn.lines, line)
	region, name := fn.Region, fn.Name
	f.mu.Unlock()
	f.config.Print(region, name, line)
}

// environ is the environment of provided.al2023.
func (f *Fake) environ(fn *function) []string {
	env := []string{
		"_HANDLER=" + fn.Handler, "LAMBDA_TASK_ROOT=" + fn.dir, "LAMBDA_RUNTIME_DIR=" + fn.dir,
		"AWS_REGION=" + fn.Region, "AWS_DEFAULT_REGION=" + fn.Region,
		"AWS_LAMBDA_FUNCTION_NAME=" + fn.Name, "AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		fmt.Sprintf("AWS_LAMBDA_FUNCTION_MEMORY_SIZE=%d", fn.Memory), "AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + fn.Name, "AWS_LAMBDA_LOG_STREAM_NAME=fakeaws",
		"LANG=en_US.UTF-8", "TZ=:UTC", "PATH=/usr/local/bin:/usr/bin/:/bin:/opt/bin", "LD_LIBRARY_PATH=/lib64:/usr/lib64:" + fn.dir,
	}
	env = append(env, f.config.Environ(fn.Region, fn.Role)...)
	for _, k := range slices.Sorted(maps.Keys(fn.Env)) {
		env = append(env, k+"="+fn.Env[k])
	}
	return env
}

// errThrottled: all programs that a function may have are busy.
var errThrottled = errors.New("rate exceeded")

// acquire returns a program of a function that nobody uses.
func (f *Fake) acquire(ctx context.Context, fn *function) (*sandbox, error) {
	f.mu.Lock()
	if fn.closing {
		f.mu.Unlock()
		return nil, notFound(fn.arn)
	}
	if fn.running >= fn.Concurrent {
		f.mu.Unlock()
		return nil, errThrottled
	}
	fn.running++
	for len(fn.idle) > 0 {
		s := fn.idle[len(fn.idle)-1]
		fn.idle = fn.idle[:len(fn.idle)-1]
		select {
		case <-s.ended:
			f.mu.Unlock()
			s.close()
			f.mu.Lock()
			continue
		default:
		}
		f.mu.Unlock()
		return s, nil
	}
	env, updates := f.environ(fn), fn.updates
	f.mu.Unlock()
	s, err := startSandbox(ctx, fn.arn, fn.dir, env, func(line string) { f.print(fn, line) })
	if err != nil {
		f.mu.Lock()
		fn.running--
		f.mu.Unlock()
		return nil, err
	}
	s.updates = updates
	return s, nil
}

// release puts a program back, or ends it.
func (f *Fake) release(fn *function, s *sandbox, good bool) {
	f.mu.Lock()
	fn.running--
	keep := good && !fn.closing && s.updates == fn.updates
	if keep {
		fn.idle = append(fn.idle, s)
	}
	f.mu.Unlock()
	if !keep {
		s.close()
	}
}

// run has a function handle an event now. The error says that it was not handled at all.
func (f *Fake) run(ctx context.Context, fn *function, id string, payload []byte) (result, error) {
	s, err := f.acquire(ctx, fn)
	if err != nil {
		if _, ok := errors.AsType[*os.PathError](err); ok {
			return failed("Runtime.InvalidEntrypoint", "RequestId: %s Error: %v", id, err), nil
		}
		return result{}, err
	}
	f.mu.Lock()
	timeout := fn.Timeout
	f.mu.Unlock()
	r, good := s.do(ctx, id, payload, timeout)
	f.release(fn, s, good)
	return r, nil
}

// find returns a function by its name or any form of its ARN.
func (f *Fake) find(region, name string) (*function, error) {
	if parts := strings.Split(name, ":"); len(parts) >= 7 && parts[2] == "lambda" {
		region, name = parts[3], parts[6]
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	arn := f.ARN(region, name)
	if fn := f.functions[arn]; fn != nil {
		return fn, nil
	}
	return nil, notFound(arn)
}

// Service returns what doors lead to.
func (f *Fake) Service() *door.Service {
	j := door.RESTJSON{Routes: routes()}
	return &door.Service{
		Name: "lambda", Regions: f.config.Regions, MostBody: mostPackage,
		Speaks: func(*http.Request) door.Protocol { return j },
		Act:    f.act,
		Asks: func(c *door.Call) []iam.Request {
			name := c.Vars["FunctionName"]
			if name == "" {
				name = c.Params.Str("FunctionName")
			}
			ask := iam.Request{Resource: f.ARN(c.Region, name)}
			if c.Action == "Invoke" {
				ask.Action = "lambda:InvokeFunction"
			}
			return []iam.Request{ask}
		},
	}
}
