package dynamo

import "encoding/json"

// A Statement is one of an IAM policy.
type Statement struct {
	// Sid names it.
	Sid string
	// Effect is Allow.
	Effect string
	// Action are the operations that it is about.
	Action []string
	// Resource is the ARN of the table.
	Resource string
}

// A Policy is what IAM must allow an Engine, as its document has it.
type Policy struct {
	// Version is that of IAM's language.
	Version string
	// Statement are its statements.
	Statement []Statement
}

// PolicyFor returns what an Engine must be allowed to do with the table of an ARN, and
// nothing that it does not do; sweeps: it also calls Sweep, as applications don't. Allow the
// same for the table's copy in each Region: who runs in one asks those of the others too, to
// read what has not come yet and to tell of logouts. A table that is encrypted by a key of
// one's own needs kms:Decrypt besides.
func PolicyFor(tableARN string, sweeps bool) Policy {
	p := Policy{Version: "2012-10-17", Statement: []Statement{
		{Sid: "RoamSessions", Effect: "Allow", Resource: tableARN, Action: []string{
			"dynamodb:DescribeTable", "dynamodb:DescribeTimeToLive", "dynamodb:PutItem", "dynamodb:Query", "dynamodb:Scan",
		}},
	}}
	if sweeps {
		p.Statement = append(p.Statement, Statement{
			Sid: "RoamSweep", Effect: "Allow", Resource: tableARN, Action: []string{"dynamodb:DeleteItem"},
		})
	}
	return p
}

// JSON returns the document.
func (p Policy) JSON() string {
	b, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		// Invariant: strings can be marshalled.
		panic("dynamo: a policy can't be marshalled: " + err.Error())
	}
	return string(b)
}
