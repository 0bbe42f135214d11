package iam

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// mostPolicy bounds a policy's text, in bytes: AWS takes 10,240 for a role.
const mostPolicy = 32 << 10

// ErrPolicy: a policy can't be read, or says something that is not known here.
var ErrPolicy = errors.New("malformed policy document")

// A Policy is what Decode has read. It does not change; goroutines may share it.
type Policy struct{ statements []statement }

// A statement is one of a policy.
type statement struct {
	deny       bool
	principals []string // of a resource's policy; nil: anyone it is shown for
	services   []string
	actions    []string
	notActions []string
	resources  []string
	conditions []condition
}

// A condition is one key under one operator.
type condition struct {
	operator string // without what follows
	forAll   bool   // ForAllValues
	forAny   bool   // ForAnyValue
	ifExists bool
	key      string // lower case
	values   []string
}

// A Request is a call that is to be judged.
type Request struct {
	// Action is service:Operation.
	Action string
	// Resource is the ARN that it is about; "*" if it is about none.
	Resource string
	// Principal is the ARN of who calls, or a service such as elasticache.amazonaws.com.
	Principal string
	// Context has the keys of conditions, in any case, and their values.
	Context map[string][]string
}

// Allows reports whether a policy allows a call: a statement does and none denies it.
func (p Policy) Allows(r Request) bool {
	allowed := false
	for _, s := range p.statements {
		if !s.covers(r) {
			continue
		}
		if s.deny {
			return false
		}
		allowed = true
	}
	return allowed
}

func (s statement) covers(r Request) bool {
	action := strings.ToLower(r.Action)
	fits := func(pattern string) bool { return like(strings.ToLower(pattern), action) }
	switch {
	case s.actions != nil && !slices.ContainsFunc(s.actions, fits),
		s.notActions != nil && slices.ContainsFunc(s.notActions, fits),
		s.resources != nil && !slices.ContainsFunc(s.resources, func(p string) bool { return like(p, r.Resource) }),
		!s.names(r.Principal):
		return false
	}
	return !slices.ContainsFunc(s.conditions, func(c condition) bool { return !c.holds(r.Context) })
}

// names reports whether a statement is about a principal.
func (s statement) names(who string) bool {
	if s.principals == nil && s.services == nil {
		return true
	}
	if slices.Contains(s.services, who) {
		return true
	}
	return slices.ContainsFunc(s.principals, func(p string) bool {
		// An account stands for all of its users.
		return p == "*" || p == who || p == accountOf(who) || p == "arn:aws:iam::"+accountOf(who)+":root"
	})
}

// accountOf is the account in an ARN.
func accountOf(arn string) string {
	parts := strings.SplitN(arn, ":", 6)
	if len(parts) < 6 {
		return "-"
	}
	return parts[4]
}

// holds judges a condition. A key that a call lacks fails it, except under ForAllValues
// and IfExists; negated operators hold for it.
func (c condition) holds(has map[string][]string) bool {
	var got []string
	for k, v := range has {
		if strings.ToLower(k) == c.key {
			got = v
		}
	}
	if c.operator == "Null" {
		return slices.Contains(c.values, "true") == (len(got) == 0)
	}
	negated := strings.Contains(c.operator, "Not")
	if len(got) == 0 {
		return c.forAll || c.ifExists || negated && !c.forAny
	}
	fits := func(v string) bool {
		return slices.ContainsFunc(c.values, func(want string) bool { return c.compare(want, v) }) != negated
	}
	if c.forAll || negated && !c.forAny {
		return !slices.ContainsFunc(got, func(v string) bool { return !fits(v) })
	}
	return slices.ContainsFunc(got, fits)
}

func (c condition) compare(want, got string) bool {
	switch {
	case strings.HasSuffix(c.operator, "EqualsIgnoreCase"), c.operator == "Bool":
		return strings.EqualFold(want, got)
	case strings.HasSuffix(c.operator, "Like"), strings.HasPrefix(c.operator, "Arn"):
		return like(want, got)
	}
	return want == got
}

// operators are those that conditions may have, without ForAllValues:, ForAnyValue: and
// IfExists.
func operators() []string {
	return []string{
		"StringEquals", "StringNotEquals", "StringEqualsIgnoreCase", "StringNotEqualsIgnoreCase", "StringLike", "StringNotLike",
		"ArnEquals", "ArnNotEquals", "ArnLike", "ArnNotLike", "Bool", "Null",
	}
}

// like matches a pattern in which * is anything and ? one character.
func like(pattern, text string) bool {
	for pattern != "" {
		switch pattern[0] {
		case '*':
			pattern = strings.TrimLeft(pattern, "*")
			if pattern == "" {
				return true
			}
			// The shortest match of what lies before the next * is enough.
			head, _, more := strings.Cut(pattern, "*")
			if !more {
				return len(text) >= len(head) && plain(head, text[len(text)-len(head):])
			}
			at := 0
			for ; at+len(head) <= len(text) && !plain(head, text[at:at+len(head)]); at++ {
			}
			if at+len(head) > len(text) {
				return false
			}
			pattern, text = pattern[len(head):], text[at+len(head):]
		default:
			if text == "" || pattern[0] != '?' && pattern[0] != text[0] {
				return false
			}
			pattern, text = pattern[1:], text[1:]
		}
	}
	return text == ""
}

// plain matches a pattern without * with a text of its length.
func plain(pattern, text string) bool {
	for i := range len(pattern) {
		if pattern[i] != '?' && pattern[i] != text[i] {
			return false
		}
	}
	return true
}

// Decode reads a policy document. It fails with ErrPolicy, also for what is right and not
// known here: variables, NotPrincipal, NotResource, operators on numbers and dates.
func Decode(text []byte) (Policy, error) {
	if len(text) > mostPolicy {
		return Policy{}, fmt.Errorf("%w: %d bytes, at most %d", ErrPolicy, len(text), mostPolicy)
	}
	var doc struct {
		Version   string
		ID        string `json:"Id"`
		Statement json.RawMessage
	}
	if err := strict(text, &doc); err != nil {
		return Policy{}, fmt.Errorf("%w: %w", ErrPolicy, err)
	}
	if !slices.Contains([]string{"", "2012-10-17", "2008-10-17"}, doc.Version) {
		return Policy{}, fmt.Errorf("%w: Version %.20q", ErrPolicy, doc.Version)
	}
	raw := []json.RawMessage{}
	if err := json.Unmarshal(doc.Statement, &raw); err != nil {
		raw = []json.RawMessage{doc.Statement} // one alone needs no list
	}
	var p Policy
	for i, r := range raw {
		s, err := decodeStatement(r)
		if err != nil {
			return Policy{}, fmt.Errorf("%w: statement %d: %w", ErrPolicy, i+1, err)
		}
		p.statements = append(p.statements, s)
	}
	if len(p.statements) == 0 {
		return Policy{}, fmt.Errorf("%w: no statement", ErrPolicy)
	}
	return p, nil
}

func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows it")
	}
	return nil
}

// words are one text or a list of them.
type words []string

// UnmarshalJSON takes both forms.
func (w *words) UnmarshalJSON(text []byte) error {
	var one string
	if json.Unmarshal(text, &one) == nil {
		*w = words{one}
		return nil
	}
	var truth bool
	if json.Unmarshal(text, &truth) == nil {
		*w = words{fmt.Sprint(truth)}
		return nil
	}
	var all []string
	if err := json.Unmarshal(text, &all); err != nil {
		return err
	}
	*w = all
	return nil
}

func decodeStatement(text []byte) (statement, error) {
	var in struct {
		Sid, Effect       string
		Principal         json.RawMessage
		Action, NotAction words
		Resource          words
		Condition         map[string]map[string]words
	}
	if err := strict(text, &in); err != nil {
		return statement{}, err
	}
	s := statement{deny: in.Effect == "Deny", actions: in.Action, notActions: in.NotAction, resources: in.Resource}
	switch {
	case in.Effect != "Allow" && in.Effect != "Deny":
		return s, fmt.Errorf("effect %.20q: want Allow or Deny", in.Effect)
	case (len(in.Action) == 0) == (len(in.NotAction) == 0):
		return s, errors.New("want Action or NotAction")
	case strings.Contains(strings.Join(in.Resource, " "), "${"):
		return s, errors.New("variables are not known here")
	}
	if in.Principal != nil {
		if err := s.readPrincipal(in.Principal); err != nil {
			return s, err
		}
	}
	for op, keys := range in.Condition {
		for key, values := range keys {
			c, err := newCondition(op, key, values)
			if err != nil {
				return s, err
			}
			s.conditions = append(s.conditions, c)
		}
	}
	return s, nil
}

func (s *statement) readPrincipal(text []byte) error {
	s.principals = []string{}
	var all string
	if json.Unmarshal(text, &all) == nil {
		if all != "*" {
			return fmt.Errorf("principal %.40q: want * or an object", all)
		}
		s.principals = []string{"*"}
		return nil
	}
	var in struct{ AWS, Service words }
	if err := strict(text, &in); err != nil {
		return fmt.Errorf("principal: %w", err)
	}
	s.principals = append(s.principals, in.AWS...)
	s.services = in.Service
	return nil
}

func newCondition(op, key string, values []string) (condition, error) {
	c := condition{key: strings.ToLower(key), values: values}
	op, c.forAll = strings.CutPrefix(op, "ForAllValues:")
	op, c.forAny = strings.CutPrefix(op, "ForAnyValue:")
	op, c.ifExists = strings.CutSuffix(op, "IfExists")
	if c.operator = op; !slices.Contains(operators(), op) {
		return c, fmt.Errorf("condition operator %.40q is not known here", op)
	}
	if strings.Contains(strings.Join(values, " "), "${") {
		return c, errors.New("variables are not known here")
	}
	return c, nil
}
