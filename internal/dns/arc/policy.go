package arc

import (
	_ "embed"
	"encoding/json"
	"strings"
)

//go:embed policy.json
var policy string

// Policy returns the IAM policy that a Keeper needs: reading and turning the controls that it
// knows of, and never in spite of a safety rule.
func Policy(controls []string) (string, error) {
	list, err := json.Marshal(controls)
	if err != nil {
		return "", err
	}
	return strings.ReplaceAll(policy, `"${Controls}"`, string(list)), nil
}
