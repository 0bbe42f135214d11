package awslambda

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:embed policy/reconcile.json policy/promote.json policy/sweep.json
var policies embed.FS

// An Account is where a function runs.
type Account struct {
	ID        string
	Partition string // aws, aws-cn or aws-us-gov
	Function  string // the function's name, for its logs; their group must be there
	Failures  string // the ARN of the queue that is its OnFailure destination; empty: none
}

type statement struct {
	Sid       string
	Effect    string
	Action    any
	Resource  any
	Condition any `json:",omitempty"`
}

// Policy returns the IAM policy that a function of a configuration needs, and no more: of one
// zone, records of one name and type may be replaced, and nothing created beside it or deleted.
// Statements about what the function does not drive are left out. Names of ElastiCache's
// questions can't be scoped, by AWS's rules, nor those of CloudWatch.
func Policy(c Config, a Account) ([]byte, error) {
	raw, err := policies.ReadFile("policy/" + c.Function + ".json")
	if err != nil {
		return nil, fmt.Errorf("policy of %q: %w", c.Function, err)
	}
	var controls []string
	for _, arn := range append([]string{c.Control}, c.Off...) {
		controls = append(controls, quoted(arn))
	}
	text := strings.NewReplacer(
		`"${Controls}"`, strings.Join(controls, ", "),
		"${Partition}", inner(a.Partition), "${Account}", inner(a.ID), "${Function}", inner(a.Function), "${Failures}", inner(a.Failures), "${Region}", inner(c.Place.Region),
		"${Zone}", inner(c.Zone), "${Name}", inner(strings.ToLower(strings.TrimSuffix(c.Name, "."))),
		"${Global}", inner(c.Place.Global), "${Group}", inner(c.Place.Group), "${Switch}", inner(slashed(c.Switch)), "${Memory}", inner(slashed(c.Memory)),
		"${Table}", inner(c.Table),
	).Replace(string(raw))
	var p struct {
		Version   string
		Statement []statement
	}
	if err := json.Unmarshal([]byte(text), &p); err != nil {
		return nil, fmt.Errorf("policy of %q: %w", c.Function, err)
	}
	p.Statement = slices.DeleteFunc(p.Statement, func(s statement) bool {
		switch s.Sid {
		case "LookAtTheRecord", "MoveTheRecord", "WaitUntilInSync":
			return !slices.Contains(c.Drive, DriveRecord)
		case "TurnControls":
			return !slices.Contains(c.Drive, DriveControl)
		case "TellOfFailures":
			return a.Failures == ""
		}
		return false
	})
	out, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("policy of %q: %w", c.Function, err)
	}
	return out, nil
}

// slashed returns a parameter's name as ARNs have it: with one slash in front.
func slashed(name string) string { return "/" + strings.TrimPrefix(name, "/") }

func quoted(s string) string { return `"` + inner(s) + `"` }

// inner returns a string as it stands between the quotes of JSON.
func inner(s string) string {
	raw, err := json.Marshal(s)
	if err != nil {
		return ""
	}
	return string(raw[1 : len(raw)-1])
}
