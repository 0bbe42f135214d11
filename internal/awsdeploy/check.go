package awsdeploy

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/roam-sessions/roam/internal/awsplan"
)

// mostTemplate is what CloudFormation takes of a template without a bucket, in bytes.
const mostTemplate = 51_200

// Check looks whether the plan can be carried out at all, and asks nobody: see package awsdeploy's Check.
func (d *Deployer) Check() error { return Check(d.plan, d.templates) }

// Check looks whether a plan can be carried out with templates of some names: that its steps are known, and that
// the templates have the parameters that they are given. It tells all faults.
func Check(p awsplan.Plan, templates func(name string) (string, error)) error {
	var faults []error
	for i, s := range p.Steps {
		if s.Do != awsplan.DoStack {
			if !slices.Contains(actions(), s.Do) {
				faults = append(faults, fmt.Errorf("step %d: this program can't do %q: it is older than the plan", i+1, s.Do))
			}
			continue
		}
		if err := fits(s, templates); err != nil {
			faults = append(faults, fmt.Errorf("step %d, stack %s in %s: %w", i+1, s.Stack, s.Region, err))
		}
	}
	return errors.Join(faults...)
}

// fits reports what is wrong with what a template is given.
func fits(s awsplan.Step, templates func(string) (string, error)) error {
	text, err := templates(s.Template)
	if err != nil {
		return fmt.Errorf("template: %w", err)
	}
	if len(text) > mostTemplate {
		return fmt.Errorf("template %s has %d bytes, and CloudFormation takes %d", s.Template, len(text), mostTemplate)
	}
	has, err := parametersOf(text)
	if err != nil {
		return fmt.Errorf("template %s: %w", s.Template, err)
	}
	given := map[string]bool{}
	for key := range s.Parameters {
		given[key] = true
	}
	for _, f := range s.Feeds {
		given[f.Parameter] = true
	}
	var faults []error
	if s.Policy != "" {
		if _, err := templates(s.Policy); err != nil {
			faults = append(faults, fmt.Errorf("policy: %w", err))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		if _, ok := has[key]; !ok {
			faults = append(faults, fmt.Errorf("template %s has no parameter %s", s.Template, key))
		}
	}
	for _, key := range slices.Sorted(maps.Keys(has)) {
		if has[key].standard == nil && !given[key] {
			faults = append(faults, fmt.Errorf("template %s wants parameter %s, and nobody gives it", s.Template, key))
		}
	}
	return errors.Join(faults...)
}
