package route53

import (
	_ "embed"
	"strings"
)

//go:embed policy.json
var policy string

// Policy returns the IAM policy that a Publisher needs which publishes with marks, or changes a
// name from one form to the other: all changes of CNAME and TXT records of one name and its
// mark in one zone. One that only settles a simple record needs less; see awslambda.Policy.
func (p *Publisher) Policy(partition string) string {
	return strings.NewReplacer("${Partition}", partition, "${Zone}", p.zone, "${Name}", bare(p.name)).Replace(policy)
}
