package cfn

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func read(t *testing.T, text string) *Template {
	t.Helper()
	out, err := Read([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Each function means what CloudFormation's page of it says.
func TestRender(t *testing.T) {
	template := read(t, `
Parameters:
  Name: {Type: String}
  Cidr: {Type: String, Default: 10.1.16.0/20}
  Subnets: {Type: "List<AWS::EC2::Subnet::Id>", Default: "subnet-1, subnet-2"}
Mappings:
  Sizes: {us-west-2: {small: t4g.small}}
Conditions:
  IsA: !Equals [!Ref Name, a]
  NotA: !Not [!Condition IsA]
  Both: !And [Condition: IsA, !Equals [!Ref "AWS::Region", us-west-2]]
  Either: !Or [!Condition NotA, !Condition Both]
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      Join: !Join ["-", [!Ref Name, !Ref AWS::NoValue, !Ref AWS::Region]]
      Sub: !Sub ["${Name} ${x} ${!Literal} ${Queue.Arn} ${AWS::AccountId}", {x: !Ref AWS::Partition}]
      Select: !Select [1, !Ref Subnets]
      Split: !Split [",", "p,q"]
      Base64: {"Fn::Base64": hello}
      Cidr: !Cidr [!Ref Cidr, 3, 8]
      Zone: !Select [0, !GetAZs ""]
      Find: !FindInMap [Sizes, !Ref "AWS::Region", small]
      If: !If [IsA, yes, no]
      Gone: !If [IsA, !Ref AWS::NoValue, there]
      GetAtt: !GetAtt Queue.Arn
      Long: {"Fn::GetAtt": [Queue, Arn]}
      List: [!If [NotA, x, !Ref AWS::NoValue], y]
  Second: {Type: AWS::SQS::Queue, Condition: NotA}
  Third: {Type: AWS::SQS::Queue, Condition: Either}
Outputs:
  Out: {Value: !Ref Queue}
  Absent: {Condition: NotA, Value: x}
`)
	got, err := template.Render(Stack{Region: "us-west-2", Account: "123456789012", Parameters: map[string]string{"Name": "a"}})
	if err != nil {
		t.Fatal(err)
	}
	want := Rendered{
		Resources: map[string]Resource{
			"Queue": {Type: "AWS::SQS::Queue", Properties: map[string]any{
				"Join": "a-us-west-2", "Sub": "a aws ${Literal} Queue.Arn 123456789012", "Select": "subnet-2", "Split": []any{"p", "q"},
				"Base64": "aGVsbG8=", "Cidr": []any{"10.1.16.0/24", "10.1.17.0/24", "10.1.18.0/24"}, "Zone": "us-west-2a",
				"Find": "t4g.small", "If": "yes", "GetAtt": "Queue.Arn", "Long": "Queue.Arn", "List": []any{"y"},
			}},
			"Third": {Type: "AWS::SQS::Queue", Properties: map[string]any{}},
		},
		Outputs: map[string]any{"Out": "Queue"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

// What CloudFormation would refuse, Render does, all at once.
func TestRenderRefuses(t *testing.T) {
	template := read(t, `
Parameters:
  Needed: {Type: String}
  Word: {Type: String, AllowedValues: [a, b], Default: a}
  Form: {Type: String, AllowedPattern: "vpc-[0-9]+", Default: vpc-1}
  Count: {Type: Number, Default: 1}
Resources:
  Queue:
    Type: AWS::SQS::Queue
    Properties:
      Few: !Select [7, [a, b]]
      Small: !Cidr [10.0.0.0/24, 4, 8]
      Away: !ImportValue elsewhere
`)
	_, err := template.Render(Stack{Parameters: map[string]string{"Word": "c", "Form": "xvpc-1", "Count": "many", "Extra": "x"}})
	for _, want := range []string{
		"Extra: the template has no such parameter", "Needed: is needed", `"c" is none of`, `"xvpc-1" does not match`, `"many" is no number`,
		"no element 7", "no room for 4 networks", "Fn::ImportValue: can't be evaluated",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Render = %v, want %q", err, want)
		}
	}
}

// Changes says what an update does, and what it would make anew.
func TestChanges(t *testing.T) {
	spec := &Spec{Types: map[string]Type{"T": {Properties: map[string]Property{"Name": {Replace: "yes"}, "Size": {}}}}}
	one := func(name, size string) Resource {
		return Resource{Type: "T", Properties: map[string]any{"Name": name, "Size": size}}
	}
	got := Changes(
		Rendered{Resources: map[string]Resource{"A": one("a", "1"), "B": one("b", "1"), "Old": one("o", "1"), "Same": one("s", "1")}},
		Rendered{Resources: map[string]Resource{"A": one("x", "1"), "B": one("b", "2"), "New": one("n", "1"), "Same": one("s", "1")}}, spec,
	)
	want := []Change{{"A", "Name", true}, {"B", "Size", false}, {"New", "", false}, {"Old", "", true}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}
