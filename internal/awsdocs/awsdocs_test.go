package awsdocs

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// faked are the services that fakeaws has, as the CLI calls them.
func faked() []string {
	return []string{"elasticache", "route53", "sns", "lambda", "cloudwatch", "route53-recovery-cluster"}
}

// mocked are those that moto has.
func mocked() []string {
	return []string{"sts", "ec2", "secretsmanager", "sqs", "logs", "iam", "events"}
}

func pages() []string { return []string{"by-hand.md", "runbook.md"} }

func blocks(t *testing.T, page string) []Block {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("..", "..", "docs", "aws", page)) //nolint:gosec // a page of this repository
	if err != nil {
		t.Fatal(err)
	}
	all, err := Read(string(raw))
	if err != nil {
		t.Fatalf("%s: %v", page, err)
	}
	return all
}

// What somebody imitates is run, what nobody does is checked, and no command escapes both.
func TestAllCommandsAreDone(t *testing.T) {
	for _, page := range pages() {
		done := 0
		for _, b := range blocks(t, page) {
			for _, s := range b.Services() {
				can := slices.Contains(append(faked(), mocked()...), s)
				switch {
				case b.Do == "":
					t.Errorf("%s:%d: aws %s … is done by nobody", page, b.Line, s)
				case b.Do == Run && !can:
					t.Errorf("%s:%d %s: nobody imitates %s", page, b.Line, b.Name, s)
				case b.Do == Check && can:
					t.Errorf("%s:%d %s: aws %s … can be run", page, b.Line, b.Name, s)
				}
				done++
			}
		}
		if done < 20 {
			t.Errorf("%s has %d commands", page, done)
		}
	}
}

func TestRead(t *testing.T) {
	page := "a\n```sh run one\naws iam x\n```\n\n```text\nab…\ncd \n```\n\n```sh\nfor people\n```\n\n```text\nof nobody\n```\n" +
		"```sh run two\nx\n```\nwords\n```text\nof nobody\n```\n```sh check three\n! aws ec2 y; z=\"$(aws sns b)\"\n```\n"
	all, err := Read(page)
	if err != nil || len(all) != 4 {
		t.Fatalf("Read = %+v, %v", all, err)
	}
	one, people, two, three := all[0], all[1], all[2], all[3]
	if one.Name != "one" || one.Do != Run || one.Line != 2 || one.Prints == nil || people.Do != "" || people.Prints != nil || two.Prints != nil || three.Do != Check {
		t.Errorf("Read = %+v", all)
	}
	if got := strings.Join(append(one.Services(), three.Services()...), " "); got != "iam ec2 sns" {
		t.Errorf("Services = %s", got)
	}
	for _, bad := range []string{"```sh run one\nx\n", "```sh run\nx\n```\n", "```sh walk one\nx\n```\n", "```sh run a\n```\n```sh run a\n```\n"} {
		if all, err := Read(bad); err == nil {
			t.Errorf("Read(%q) = %+v", bad, all)
		}
	}
}

func TestSays(t *testing.T) {
	text := "ab…\ncd \n"
	b := Block{Prints: &text}
	for printed, want := range map[string]bool{"ab\ncd": true, "abxyz\ncd\n\n": true, "ab\n\ncd": false, "xab\ncd": false, "ab": false, "": false} {
		if b.Says(printed) != want {
			t.Errorf("Says(%q) = %v", printed, !want)
		}
	}
	if !(Block{}).Says("anything") {
		t.Error("what is to print nothing in particular may print anything")
	}
}
