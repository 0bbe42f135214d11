package awsdeploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sts"

	"github.com/roam-sessions/roam/internal/awsplan"
)

const (
	// DefaultWithin bounds how long one step is waited for. A Region's part of a Global Datastore takes
	// some tens of minutes; CloudFormation itself gives a resource up after hours.
	DefaultWithin = 2 * time.Hour
	// DefaultPoll is how often CloudFormation is asked how far it is.
	DefaultPoll = 5 * time.Second
	// tagName is the tag by which a stack says whose it is. It is on all that the stack has.
	tagName = "roam:deployment"
)

// Errors that callers act on.
var (
	// ErrAccount says that the credentials are of another account than the one that is wanted.
	ErrAccount = errors.New("the credentials are of another account")
	// ErrForeign says that a stack of that name is there, and that Roam did not make it.
	ErrForeign = errors.New("a stack of that name is there, and is not of this deployment")
	// ErrData says that an update would replace or remove what has data.
	ErrData = errors.New("the update would replace or remove what has data")
	// ErrUnfinished says that AWS goes on with what was waited for.
	ErrUnfinished = errors.New("AWS is not done yet, and goes on by itself")
)

// Config is what is optional about a Deployer. Its zero value is good.
type Config struct {
	// Account is the number of the account that all must be in; empty: any.
	Account string
	// Role is the ARN of the role by which CloudFormation makes things; empty: by the caller's rights.
	Role string
	// AllowCacheUpdate lets stacks be updated whose roles are observed: those with a Global Datastore.
	AllowCacheUpdate bool
	// ReplaceFailed has a stack deleted and made anew whose creation failed.
	ReplaceFailed bool
	// Within bounds how long one step is waited for; zero: DefaultWithin.
	Within time.Duration
	// Poll is how often AWS is asked how far it is; zero: DefaultPoll.
	Poll time.Duration
	// Tell is told of what happens; nil: nobody is. It is called by one goroutine at a time.
	Tell func(Event)
}

// An Event is something that happened.
type Event struct {
	At     time.Time `json:"at"`
	Kind   string    `json:"kind"`           // of those below
	Step   int       `json:"step,omitempty"` // from 1
	Steps  int       `json:"steps,omitempty"`
	Do     string    `json:"do,omitempty"`
	Stack  string    `json:"stack,omitempty"`
	Region string    `json:"region,omitempty"`
	// Resource, Type and Status are of what a stack makes.
	Resource string `json:"resource,omitempty"`
	Type     string `json:"type,omitempty"`
	Status   string `json:"status,omitempty"`
	Text     string `json:"text,omitempty"`
	// Took is how long a step took, in seconds.
	Took float64 `json:"took_seconds,omitempty"`
}

// Kinds of events.
const (
	Begun    = "begun"    // a step
	Resource = "resource" // something of a stack has another status
	Note     = "note"     // something to know
	Done     = "done"     // a step: Text says what was done
	Failed   = "failed"   // a step
)

// A Deployer carries out one plan. It is used by one goroutine at a time.
type Deployer struct {
	plan      awsplan.Plan
	undo      []awsplan.Step
	remain    []awsplan.Remain
	templates func(name string) (string, error)
	cloud     cloud
	c         Config
	at        Event // the step that events are of
	// found is what actions found out as if it were an output of a stack: see foundKey.
	found map[string]string
	// silent are Regions that did not answer, while Status looks; else nil.
	silent map[string]bool
}

// New returns what carries out a plan with templates of some names. Nothing is asked yet.
func New(a aws.Config, p awsplan.Plan, templates func(name string) (string, error), c Config) *Deployer {
	c.Within = cmp.Or(c.Within, DefaultWithin)
	c.Poll = cmp.Or(c.Poll, DefaultPoll)
	if a.HTTPClient == nil {
		a.HTTPClient = awshttp.NewBuildableClient()
	}
	return &Deployer{plan: p, undo: p.Undo(), remain: p.Remains(), templates: templates, cloud: newCloud(a), c: c, found: map[string]string{}}
}

// Load returns the configuration of AWS that the environment and its files have.
func Load(ctx context.Context) (aws.Config, error) {
	a, err := config.LoadDefaultConfig(ctx, config.WithRetryer(func() aws.Retryer { return aws.NopRetryer{} }))
	if err != nil {
		return a, fmt.Errorf("load the configuration of AWS: %w", err)
	}
	return a, nil
}

// Caller asks who the credentials are of, and returns her account and ARN. It fails with ErrAccount if
// that is not the account that is wanted. Ask before anything else.
func (d *Deployer) Caller(ctx context.Context) (account, arn string, err error) {
	if d.cloud.Credentials == nil {
		return "", "", errors.New("there are no credentials of AWS: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY")
	}
	if _, err := d.cloud.Credentials.Retrieve(ctx); err != nil {
		return "", "", fmt.Errorf("credentials of AWS: %w; set AWS_PROFILE, or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY", err)
	}
	region := d.cloud.Region
	if len(d.plan.Steps) > 0 {
		region = d.plan.Steps[0].Region
	}
	var out *sts.GetCallerIdentityOutput
	err = d.cloud.again(ctx, func(ctx context.Context) error {
		out, err = d.cloud.identity(region).GetCallerIdentity(ctx, &sts.GetCallerIdentityInput{})
		return err
	})
	if err != nil {
		return "", "", fmt.Errorf("ask STS who is asking: %w", err)
	}
	account, arn = aws.ToString(out.Account), aws.ToString(out.Arn)
	if d.c.Account != "" && account != d.c.Account {
		return account, arn, fmt.Errorf("%w: they are of %s, and %s is wanted", ErrAccount, account, d.c.Account)
	}
	return account, arn, nil
}

// tell tells of something about the step that goes on.
func (d *Deployer) tell(e Event) {
	if d.c.Tell == nil {
		return
	}
	e.At = time.Now()
	e.Step, e.Steps, e.Do = d.at.Step, d.at.Steps, d.at.Do
	e.Stack, e.Region = cmp.Or(e.Stack, d.at.Stack), cmp.Or(e.Region, d.at.Region)
	d.c.Tell(e)
}

func (d *Deployer) note(format string, args ...any) {
	d.tell(Event{Kind: Note, Text: fmt.Sprintf(format, args...)})
}
