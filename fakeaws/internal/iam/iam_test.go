package iam

import (
	"errors"
	"testing"
)

// record is the policy of a function that may change one name, as docs/fakeaws.md shows it.
const record = `{"Version":"2012-10-17","Statement":[
 {"Effect":"Allow","Action":"route53:ChangeResourceRecordSets","Resource":"arn:aws:route53:::hostedzone/Z1",
  "Condition":{"ForAllValues:StringEquals":{
   "route53:ChangeResourceRecordSetsNormalizedRecordNames":["write.session.internal"],
   "route53:ChangeResourceRecordSetsRecordTypes":["CNAME"],
   "route53:ChangeResourceRecordSetsActions":["UPSERT"]}}},
 {"Effect":"Allow","Action":["route53:Get*","route53:List*"],"Resource":"*"},
 {"Effect":"Deny","Action":"route53:GetHostedZone","Resource":"*"}]}`

func TestAllows(t *testing.T) {
	p, err := Decode([]byte(record))
	if err != nil {
		t.Fatal(err)
	}
	change := func(name string, actions ...string) Request {
		return Request{
			Action: "route53:ChangeResourceRecordSets", Resource: "arn:aws:route53:::hostedzone/Z1",
			Context: map[string][]string{
				"route53:ChangeResourceRecordSetsNormalizedRecordNames": {name},
				"route53:ChangeResourceRecordSetsRecordTypes":           {"CNAME"},
				"route53:ChangeResourceRecordSetsActions":               actions,
			},
		}
	}
	elsewhere := change("write.session.internal", "UPSERT")
	elsewhere.Resource = "arn:aws:route53:::hostedzone/Z2"
	for name, c := range map[string]struct {
		r    Request
		want bool
	}{
		"its record":             {change("write.session.internal", "UPSERT"), true},
		"another record":         {change("read.session.internal", "UPSERT"), false},
		"one of two actions":     {change("write.session.internal", "UPSERT", "DELETE"), false},
		"another zone":           {elsewhere, false},
		"a pattern":              {Request{Action: "route53:GetChange", Resource: "arn:aws:route53:::change/C1"}, true},
		"in other letters":       {Request{Action: "Route53:listresourcerecordsets", Resource: "x"}, true},
		"denied though allowed":  {Request{Action: "route53:GetHostedZone", Resource: "x"}, false},
		"what nothing speaks of": {Request{Action: "elasticache:DescribeReplicationGroups", Resource: "*"}, false},
	} {
		if got := p.Allows(c.r); got != c.want {
			t.Errorf("%s: Allows = %v, want %v", name, got, c.want)
		}
	}
}

func TestPrincipals(t *testing.T) {
	p, err := Decode([]byte(`{"Statement":[
	 {"Effect":"Allow","Principal":{"AWS":"*"},"Action":"SNS:Publish","Resource":"t","Condition":{"StringEquals":{"AWS:SourceOwner":"1"}}},
	 {"Effect":"Allow","Principal":{"Service":"cloudwatch.amazonaws.com"},"Action":"SNS:Publish","Resource":"t"},
	 {"Effect":"Allow","Principal":{"AWS":"222222222222"},"Action":"SNS:Subscribe","Resource":"t"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		r    Request
		want bool
	}{
		"owner":           {Request{Action: "SNS:Publish", Resource: "t", Principal: "x", Context: map[string][]string{"aws:sourceowner": {"1"}}}, true},
		"not owner":       {Request{Action: "SNS:Publish", Resource: "t", Principal: "x", Context: map[string][]string{"aws:SourceOwner": {"2"}}}, false},
		"key is lacking":  {Request{Action: "SNS:Publish", Resource: "t", Principal: "x"}, false},
		"service":         {Request{Action: "SNS:Publish", Resource: "t", Principal: "cloudwatch.amazonaws.com"}, true},
		"another service": {Request{Action: "SNS:Publish", Resource: "t", Principal: "events.amazonaws.com"}, false},
		"account":         {Request{Action: "SNS:Subscribe", Resource: "t", Principal: "arn:aws:iam::222222222222:user/a"}, true},
		"another account": {Request{Action: "SNS:Subscribe", Resource: "t", Principal: "arn:aws:iam::333333333333:user/a"}, false},
	} {
		if got := p.Allows(c.r); got != c.want {
			t.Errorf("%s: Allows = %v, want %v", name, got, c.want)
		}
	}
}

func TestLike(t *testing.T) {
	for _, c := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "", true},
		{"a*", "abc", true},
		{"a*c", "abc", true},
		{"a*c", "abd", false},
		{"a?c", "abc", true},
		{"a?c", "ac", false},
		{"*b*", "abc", true},
		{"*bc", "abcbc", true},
		{"a*b*c", "axbxc", true},
		{"a*b*c", "acb", false},
		{"", "a", false},
		{"ab*ab", "ab", false},
		{"*ab?d*", "xxabcdyy", true},
	} {
		if got := like(c.pattern, c.text); got != c.want {
			t.Errorf("like(%q, %q) = %v, want %v", c.pattern, c.text, got, c.want)
		}
	}
}

// What is not known is refused, and never taken for something else.
func TestDecodeRefuses(t *testing.T) {
	for name, text := range map[string]string{
		"nothing":          ``,
		"no statement":     `{"Version":"2012-10-17","Statement":[]}`,
		"a version":        `{"Version":"2020-01-01","Statement":{"Effect":"Allow","Action":"*"}}`,
		"an effect":        `{"Statement":{"Effect":"allow","Action":"*"}}`,
		"no action":        `{"Statement":{"Effect":"Allow","Resource":"*"}}`,
		"NotResource":      `{"Statement":{"Effect":"Allow","Action":"*","NotResource":"*"}}`,
		"NotPrincipal":     `{"Statement":{"Effect":"Allow","Action":"*","NotPrincipal":"*"}}`,
		"an operator":      `{"Statement":{"Effect":"Allow","Action":"*","Condition":{"DateLessThan":{"a":"b"}}}}`,
		"a variable":       `{"Statement":{"Effect":"Allow","Action":"*","Resource":"arn:${aws:username}"}}`,
		"more behind it":   `{"Statement":{"Effect":"Allow","Action":"*"}} {}`,
		"a principal name": `{"Statement":{"Effect":"Allow","Action":"*","Principal":"me"}}`,
	} {
		if _, err := Decode([]byte(text)); !errors.Is(err, ErrPolicy) {
			t.Errorf("%s: Decode = %v, want ErrPolicy", name, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(record), "route53:ChangeResourceRecordSets", "arn:aws:route53:::hostedzone/Z1")
	f.Add([]byte(`{"Statement":{"Effect":"Deny","NotAction":["a:*"],"Condition":{"Null":{"k":true}}}}`), "a:b", "*")
	f.Fuzz(func(t *testing.T, text []byte, action, resource string) {
		p, err := Decode(text)
		if err != nil {
			return
		}
		r := Request{Action: action, Resource: resource}
		p.Allows(r)
		p.statements = append(p.statements, statement{deny: true, actions: []string{"*"}})
		if p.Allows(r) {
			t.Error("what is denied is allowed")
		}
	})
}

// like and a plain search agree.
func FuzzLike(f *testing.F) {
	f.Add("a*b?c", "axxbyc")
	f.Add("**", "")
	f.Fuzz(func(t *testing.T, pattern, text string) {
		if len(pattern) > 20 || len(text) > 20 {
			return
		}
		if got, want := like(pattern, text), slow(pattern, text); got != want {
			t.Errorf("like(%q, %q) = %v, want %v", pattern, text, got, want)
		}
	})
}

func slow(pattern, text string) bool {
	if pattern == "" {
		return text == ""
	}
	if pattern[0] == '*' {
		return slow(pattern[1:], text) || text != "" && slow(pattern, text[1:])
	}
	return text != "" && (pattern[0] == '?' || pattern[0] == text[0]) && slow(pattern[1:], text[1:])
}
