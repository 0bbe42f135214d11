package lambda

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/roam-sessions/roam/fakeaws/internal/door"
)

func routes() []door.Route {
	const at = "/2015-03-31/functions"
	return []door.Route{
		{Action: "CreateFunction", Method: http.MethodPost, Path: at},
		{Action: "ListFunctions", Method: http.MethodGet, Path: at},
		{Action: "GetFunction", Method: http.MethodGet, Path: at + "/{FunctionName}"},
		{Action: "DeleteFunction", Method: http.MethodDelete, Path: at + "/{FunctionName}"},
		{Action: "GetFunctionConfiguration", Method: http.MethodGet, Path: at + "/{FunctionName}/configuration"},
		{Action: "UpdateFunctionConfiguration", Method: http.MethodPut, Path: at + "/{FunctionName}/configuration"},
		{Action: "Invoke", Method: http.MethodPost, Path: at + "/{FunctionName}/invocations"},
		{Action: "AddPermission", Method: http.MethodPost, Path: at + "/{FunctionName}/policy"},
		{Action: "PutFunctionConcurrency", Method: http.MethodPut, Path: "/2017-10-31/functions/{FunctionName}/concurrency"},
		{Action: "PutFunctionEventInvokeConfig", Method: http.MethodPut, Path: "/2019-09-25/functions/{FunctionName}/event-invoke-config"},
	}
}

func (f *Fake) act(ctx context.Context, c *door.Call) (any, error) {
	switch c.Action {
	case "CreateFunction":
		return f.create(c)
	case "ListFunctions":
		return f.list(c), nil
	}
	fn, err := f.find(c.Region, c.Vars["FunctionName"])
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	elsewhere := fn.Region != c.Region
	f.mu.Unlock()
	if elsewhere {
		return nil, notFound(c.Vars["FunctionName"])
	}
	switch c.Action {
	case "Invoke":
		return f.invoke(ctx, c, fn)
	case "DeleteFunction":
		f.remove(fn)
		return door.Reply{Status: http.StatusNoContent}, nil
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch c.Action {
	case "GetFunction":
		out := map[string]any{"Configuration": fn.shape(), "Code": map[string]string{"RepositoryType": "S3"}}
		if fn.reserved {
			out["Concurrency"] = map[string]int{"ReservedConcurrentExecutions": fn.Concurrent}
		}
		return out, nil
	case "GetFunctionConfiguration":
		return fn.shape(), nil
	case "UpdateFunctionConfiguration":
		return f.update(c, fn)
	case "AddPermission":
		return fn.permit(c)
	case "PutFunctionConcurrency":
		return fn.concurrency(c)
	case "PutFunctionEventInvokeConfig":
		return fn.eventConfig(c)
	}
	return nil, door.ErrUnknownAction
}

// shape is a function's configuration as the API tells it.
func (fn *function) shape() map[string]any {
	return map[string]any{
		"FunctionName": fn.Name, "FunctionArn": fn.arn, "Runtime": "provided.al2023", "Role": fn.Role, "Handler": fn.Handler,
		"Timeout": int(fn.Timeout / time.Second), "MemorySize": fn.Memory, "LastModified": fn.made.UTC().Format("2006-01-02T15:04:05.000+0000"),
		"Version": "$LATEST", "Environment": map[string]any{"Variables": fn.Env}, "State": "Active", "LastUpdateStatus": "Successful",
		"PackageType": "Zip", "Architectures": []string{architecture()},
	}
}

// architecture is what programs must be built for.
func architecture() string {
	if runtime.GOARCH == "arm64" {
		return "arm64"
	}
	return "x86_64"
}

// describe reads what a request says of a function.
func (fn *Function) describe(p door.Params) {
	if p.Has("Role") {
		fn.Role = p.Str("Role")
	}
	if p.Has("Handler") {
		fn.Handler = p.Str("Handler")
	}
	if s, ok := p.Int("Timeout"); ok {
		fn.Timeout = time.Duration(s) * time.Second
	}
	if m, ok := p.Int("MemorySize"); ok {
		fn.Memory = m
	}
	if p.Has("Environment") {
		fn.Env = map[string]string{}
		vars := p.Object("Environment").Object("Variables")
		for k := range vars {
			fn.Env[k] = vars.Str(k)
		}
	}
	if p.Has("DeadLetterConfig") {
		fn.Queue = p.Object("DeadLetterConfig").Str("TargetArn")
	}
}

func (f *Fake) create(c *door.Call) (any, error) {
	p := c.Params
	built := "x86_64"
	if a := p.Strs("Architectures"); len(a) > 0 {
		built = a[0]
	}
	switch {
	case !slices.Contains([]string{"provided.al2023", "provided.al2"}, p.Str("Runtime")):
		return nil, badParameter("Runtime %.40q: fakeaws runs programs of provided.al2023", p.Str("Runtime"))
	case built != architecture():
		return nil, badParameter("Architectures %.20q: this machine runs %s", built, architecture())
	case p.Str("Role") == "":
		return nil, badParameter("Role is required")
	}
	body, err := base64.StdEncoding.DecodeString(p.Object("Code").Str("ZipFile"))
	if err != nil || len(body) == 0 {
		return nil, badParameter("Code.ZipFile is required: fakeaws has no buckets")
	}
	files, err := decodeZip(body)
	if err != nil {
		return nil, badParameter("Could not unzip uploaded file: %v", err)
	}
	spec := Function{Name: p.Str("FunctionName"), Region: c.Region}
	spec.describe(p)
	if err := spec.defaults(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(f.config.Dir, spec.Name+"-")
	if err != nil {
		return nil, err
	}
	if err := unpack(files, dir); err != nil {
		return nil, badParameter("Could not unzip uploaded file: %v", errors.Join(err, os.RemoveAll(dir)))
	}
	arn, err := f.add(spec, dir)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return door.Reply{Status: http.StatusCreated, Body: f.functions[arn].shape()}, nil
}

func (f *Fake) list(c *door.Call) any {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := []map[string]any{}
	for _, fn := range f.functions {
		if fn.Region == c.Region {
			out = append(out, fn.shape())
		}
	}
	slices.SortFunc(out, func(a, b map[string]any) int {
		return strings.Compare(a["FunctionName"].(string), b["FunctionName"].(string))
	})
	return map[string]any{"Functions": out}
}

// remove takes a function away, and its programs once they are done.
func (f *Fake) remove(fn *function) {
	f.mu.Lock()
	delete(f.functions, fn.arn)
	idle := fn.idle
	fn.idle, fn.closing = nil, true
	f.mu.Unlock()
	for _, s := range idle {
		s.close()
	}
	_ = os.RemoveAll(fn.dir) // else it goes with the fakes
}

// invoke has a function handle an event now, or later.
func (f *Fake) invoke(ctx context.Context, c *door.Call, fn *function) (any, error) {
	payload := c.Body
	if len(payload) == 0 {
		payload = []byte("{}")
	}
	if !json.Valid(payload) {
		return nil, door.Faultf(http.StatusBadRequest, "InvalidRequestContentException", "Could not parse request body into json")
	}
	switch kind := c.Header.Get("X-Amz-Invocation-Type"); kind {
	case "Event":
		if err := f.later(fn, c.ID, payload); err != nil {
			return nil, err
		}
		return door.Reply{Status: http.StatusAccepted}, nil
	case "DryRun":
		return door.Reply{Status: http.StatusNoContent}, nil
	case "", "RequestResponse":
	default:
		return nil, badParameter("X-Amz-Invocation-Type %.40q", kind)
	}
	r, err := f.run(ctx, fn, c.ID, payload)
	if errors.Is(err, errThrottled) {
		f := door.Faultf(http.StatusTooManyRequests, "TooManyRequestsException", "Rate Exceeded.")
		f.More = map[string]any{"Reason": "ReservedFunctionConcurrentInvocationLimitExceeded"}
		return nil, f
	}
	if err != nil {
		return nil, err
	}
	reply := door.Reply{Raw: r.payload, Header: map[string]string{"X-Amz-Executed-Version": "$LATEST"}}
	if r.failure != "" {
		reply.Header["X-Amz-Function-Error"] = r.failure
	}
	return reply, nil
}

// update changes a configuration. Programs that run have the old one; they end once they
// are done. The caller holds the lock.
func (f *Fake) update(c *door.Call, fn *function) (any, error) {
	spec := fn.Function
	spec.describe(c.Params)
	if err := spec.judge(); err != nil {
		return nil, err
	}
	fn.Function = spec
	fn.updates++
	idle := fn.idle
	fn.idle = nil
	f.agenda.Go(func(context.Context) {
		for _, s := range idle {
			s.close()
		}
	})
	return fn.shape(), nil
}

// permit lets a service invoke a function.
func (fn *function) permit(c *door.Call) (any, error) {
	p := c.Params
	if p.Str("Action") != "lambda:InvokeFunction" || p.Str("Principal") == "" || p.Str("StatementId") == "" {
		return nil, badParameter("Action is lambda:InvokeFunction, and Principal and StatementId are required")
	}
	if !slices.Contains(fn.Invokers, p.Str("Principal")) {
		fn.Invokers = append(fn.Invokers, p.Str("Principal"))
	}
	text, err := json.Marshal(map[string]any{
		"Sid": p.Str("StatementId"), "Effect": "Allow", "Principal": map[string]string{"Service": p.Str("Principal")},
		"Action": "lambda:InvokeFunction", "Resource": fn.arn,
	})
	return door.Reply{Status: http.StatusCreated, Body: map[string]string{"Statement": string(text)}}, err
}

func (fn *function) concurrency(c *door.Call) (any, error) {
	n, ok := c.Params.Int("ReservedConcurrentExecutions")
	if !ok || n < 0 || n > mostConcurrent {
		return nil, badParameter("ReservedConcurrentExecutions is from 0 to %d", mostConcurrent)
	}
	fn.Concurrent, fn.reserved = n, true
	return map[string]int{"ReservedConcurrentExecutions": n}, nil
}

func (fn *function) eventConfig(c *door.Call) (any, error) {
	p := c.Params
	spec := fn.Function
	spec.Retries, spec.MaxAge = 2, 6*time.Hour
	if n, ok := p.Int("MaximumRetryAttempts"); ok {
		spec.Retries = n
	}
	if s, ok := p.Int("MaximumEventAgeInSeconds"); ok {
		spec.MaxAge = time.Duration(s) * time.Second
	}
	spec.Queue = p.Object("DestinationConfig").Object("OnFailure").Str("Destination")
	if err := spec.judge(); err != nil {
		return nil, err
	}
	fn.Function = spec
	return map[string]any{"FunctionArn": fn.arn, "MaximumRetryAttempts": fn.Retries, "MaximumEventAgeInSeconds": int(fn.MaxAge / time.Second)}, nil
}
