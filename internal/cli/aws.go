package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/spf13/cobra"

	templates "github.com/roam-sessions/roam/deploy/aws"
	"github.com/roam-sessions/roam/internal/awsdeploy"
	"github.com/roam-sessions/roam/internal/awsfile"
	"github.com/roam-sessions/roam/internal/awsplan"
	"github.com/roam-sessions/roam/internal/yamlfile"
)

// awsName is where commands look for what is wanted on AWS if they are not told.
const awsName = "aws.yaml"

func awsCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "aws",
		Short: "Plan, make, look at and take away a deployment on AWS",
		Long: `Plan, make, look at and take away a deployment on AWS, by CloudFormation and what it
can't do. Who is asked for, and with whose rights, is as with the AWS CLI: AWS_PROFILE,
AWS_ACCESS_KEY_ID and so on. docs/aws/deploy.md tells all of it.`,
		Example: `  roam aws example > aws.yaml
  roam aws plan
  roam aws deploy`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.SuggestionsMinimumDistance = 2 // letters that may be wrong
	c.AddCommand(awsExampleCommand(), awsPlanCommand(), awsPolicyCommand(), awsDeployCommand(), awsStatusCommand(), awsDestroyCommand(), awsRecordsCommand())
	return c
}

// An awsAsking is what all commands about a deployment on AWS take.
type awsAsking struct {
	file string
	json bool
}

func (a *awsAsking) flags(c *cobra.Command) {
	c.Flags().StringVarP(&a.file, "file", "f", awsName, "the file that says what is wanted")
	c.Flags().BoolVar(&a.json, "json", false, "print JSON")
	_ = c.MarkFlagFilename("file", "yaml", "yml") // the flag is there
}

// read reads the file and plans what it wants. It fails with a usageError, which may be of a badConfig.
func (a *awsAsking) read() (awsfile.File, awsplan.Plan, error) {
	text, err := os.ReadFile(a.file)
	if errors.Is(err, fs.ErrNotExist) {
		return awsfile.File{}, awsplan.Plan{}, usagef("read what is wanted: %w\nRun \"roam aws example\" for a file to begin with", err)
	}
	if err != nil {
		return awsfile.File{}, awsplan.Plan{}, usagef("read what is wanted: %w", err)
	}
	f, plan, err := awsfile.Parse(text)
	if faults := yamlfile.Faults(nil); errors.As(err, &faults) {
		return f, plan, usageError{badConfig{a.file, faults}}
	}
	return f, plan, err
}

// template returns a template by its name.
func template(name string) (string, error) {
	text, err := templates.Files.ReadFile(name)
	return string(text), err
}

// deployer returns what carries the plan out, after it has asked who the credentials are of.
func (a *awsAsking) deployer(ctx context.Context, talk io.Writer, c awsdeploy.Config) (*awsdeploy.Deployer, awsplan.Plan, error) {
	f, plan, err := a.read()
	if err != nil {
		return nil, plan, err
	}
	c.Account, c.Role = f.Account, f.Role
	config, err := awsdeploy.Load(ctx)
	if err != nil {
		return nil, plan, err
	}
	d := awsdeploy.New(config, plan, template, c)
	if err := d.Check(); err != nil {
		return nil, plan, err
	}
	account, arn, err := d.Caller(ctx)
	if err != nil {
		return nil, plan, err
	}
	_, err = fmt.Fprintf(talk, "%s in account %s, as %s\n", plan.Name, account, arn)
	return d, plan, err
}

func awsExampleCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "example",
		Short:   "Print a file with comments, of a Global Datastore in two Regions",
		Example: `  roam aws example > aws.yaml`,
		Args:    noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := io.WriteString(c.OutOrStdout(), awsfile.Example())
			return err
		},
	}
}

// confirmed reports whether somebody has said the name of what she is about to take away: by a flag, or now.
func confirmed(c *cobra.Command, name, flag, said, what string) error {
	if said == "" {
		_, _ = fmt.Fprintf(c.ErrOrStderr(), "%s\nType its name, %s, to go on: ", what, name)
		line, err := readLine(c.InOrStdin())
		if err != nil {
			return fmt.Errorf("read the name: %w", err)
		}
		if said = strings.TrimSpace(line); said == "" {
			return usagef("nothing was typed, and nothing done; --%s %s says it beforehand", flag, name)
		}
	}
	if said != name {
		return usagef("%q is not %q: nothing was done", said, name)
	}
	return nil
}

// readLine reads one line, and nothing of what comes after it: that may be another answer. A line has at most
// so many bytes as a name could.
func readLine(in io.Reader) (string, error) {
	const most = 256
	var line []byte
	for one := make([]byte, 1); len(line) < most; {
		n, err := in.Read(one)
		if n == 1 && one[0] == '\n' {
			break
		}
		line = append(line, one[:n]...)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
	}
	return string(line), nil
}
