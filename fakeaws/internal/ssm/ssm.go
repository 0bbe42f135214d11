package ssm

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/roam-sessions/roam/fakeaws/internal/clock"
	"github.com/roam-sessions/roam/fakeaws/internal/door"
	"github.com/roam-sessions/roam/fakeaws/internal/iam"
)

// Name is what the service's requests are signed for.
const Name = "ssm"

const (
	// mostParameters bounds those of a Region; one more is refused.
	mostParameters = 1000
	// mostBytes bounds a value, as the standard tier does.
	mostBytes = 4 << 10
	// mostAtOnce is how many can be asked for at once.
	mostAtOnce = 10
)

// A Config is what a Fake is made of.
type Config struct {
	// Clock is what times are told by.
	Clock clock.Clock
	// Account is whose parameters they are.
	Account string
	// Regions are those that have parameters.
	Regions []string
}

// A parameter is one value of a Region.
type parameter struct {
	name, kind, value string
	version           int
	changed           float64 // Unix seconds
}

// A Fake is the store in all Regions. Goroutines may share it.
type Fake struct {
	config Config

	mu         sync.Mutex // guards what follows
	parameters map[string]map[string]*parameter
}

// New returns a store without parameters.
func New(c Config) *Fake {
	f := &Fake{config: c, parameters: map[string]map[string]*parameter{}}
	for _, r := range c.Regions {
		f.parameters[r] = map[string]*parameter{}
	}
	return f
}

// Service returns what doors lead to.
func (f *Fake) Service() *door.Service {
	j := door.JSON{Prefix: "AmazonSSM.", Version: "1.1"}
	return &door.Service{
		Name: Name, Regions: f.config.Regions,
		Speaks: func(*http.Request) door.Protocol { return j },
		Act:    f.act,
		Asks:   f.asks,
	}
}

func (f *Fake) arn(region, name string) string {
	return fmt.Sprintf("arn:aws:ssm:%s:%s:parameter/%s", region, f.config.Account, strings.TrimPrefix(name, "/"))
}

// asks returns the parameters that a call is about, each of which a policy must allow.
func (f *Fake) asks(c *door.Call) []iam.Request {
	names := c.Params.Strs("Names")
	if name := c.Params.Str("Name"); name != "" {
		names = append(names, name)
	}
	var out []iam.Request
	for _, name := range names {
		out = append(out, iam.Request{Resource: f.arn(c.Region, name)})
	}
	return out
}

func (f *Fake) act(_ context.Context, c *door.Call) (any, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := f.parameters[c.Region]
	switch c.Action {
	case "GetParameter":
		p := all[c.Params.Str("Name")]
		if p == nil {
			return nil, notFound()
		}
		return map[string]any{"Parameter": f.tell(c.Region, p)}, nil
	case "GetParameters":
		return f.several(c)
	case "PutParameter":
		return f.put(c)
	case "DeleteParameter":
		if all[c.Params.Str("Name")] == nil {
			return nil, notFound()
		}
		delete(all, c.Params.Str("Name"))
		return struct{}{}, nil
	}
	return nil, door.ErrUnknownAction
}

func notFound() error { return door.Faultf(http.StatusBadRequest, "ParameterNotFound", "") }

func invalid(format string, args ...any) error {
	return door.Faultf(http.StatusBadRequest, "ValidationException", format, args...)
}

func (f *Fake) tell(region string, p *parameter) map[string]any {
	return map[string]any{
		"Name": p.name, "Type": p.kind, "Value": p.value, "Version": p.version, "LastModifiedDate": p.changed,
		"ARN": f.arn(region, p.name), "DataType": "text",
	}
}

// several returns those parameters that there are, and the names of all others.
func (f *Fake) several(c *door.Call) (any, error) {
	names := c.Params.Strs("Names")
	if len(names) < 1 || len(names) > mostAtOnce {
		return nil, invalid("Names has 1 to %d of them", mostAtOnce)
	}
	found, missing := []map[string]any{}, []string{}
	for _, name := range names {
		if p := f.parameters[c.Region][name]; p != nil {
			found = append(found, f.tell(c.Region, p))
		} else {
			missing = append(missing, name)
		}
	}
	return map[string]any{"Parameters": found, "InvalidParameters": missing}, nil
}

// Put writes a text parameter of a Region, over what is there.
func (f *Fake) Put(region, name, value string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, err := f.put(&door.Call{Region: region, Action: "PutParameter", Params: door.Params{
		"Name": name, "Value": value, "Type": "String", "Overwrite": true,
	}})
	return err
}

func (f *Fake) put(c *door.Call) (any, error) {
	all, name, value, kind := f.parameters[c.Region], c.Params.Str("Name"), c.Params.Str("Value"), c.Params.Str("Type")
	p := all[name]
	switch {
	case all == nil:
		return nil, invalid("there is no Region %.40q", c.Region)
	case !isName(name):
		return nil, invalid("Name is not valid: letters, digits and . - _ in up to 15 levels")
	case value == "" || len(value) > mostBytes:
		return nil, invalid("Value has 1 to %d bytes", mostBytes)
	case p != nil && !c.Params.Truth("Overwrite"):
		return nil, door.Faultf(http.StatusBadRequest, "ParameterAlreadyExists", "The parameter already exists. To overwrite this value, set the overwrite option in the request to true.")
	case p == nil && !slices.Contains([]string{"String", "StringList"}, kind):
		return nil, invalid("Type is String or StringList: fakeaws keeps no secrets")
	case p == nil && len(all) >= mostParameters:
		return nil, door.Faultf(http.StatusBadRequest, "ParameterLimitExceeded", "You have exceeded the number of parameters for this AWS account.")
	}
	if p == nil {
		p = &parameter{name: name, kind: kind}
		all[name] = p
	}
	p.value, p.changed = value, float64(f.config.Clock.Now().UnixMilli())/1000
	p.version++
	return map[string]any{"Version": p.version, "Tier": "Standard"}, nil
}

// isName reports whether a parameter may be called so.
func isName(name string) bool {
	const longest, deepest = 1011, 15
	if name == "" || len(name) > longest || strings.Count(name, "/") > deepest || strings.HasSuffix(name, "/") {
		return false
	}
	return strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-_/") == ""
}
