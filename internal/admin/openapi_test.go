package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"

	"github.com/roam-sessions/roam/internal/events"
)

// A paper is the document, read strictly: no field may come that it does not name, though
// it lets later versions add some.
type paper struct {
	t      *testing.T
	router routers.Router
}

func documentOf(t *testing.T) *openapi3.T {
	t.Helper()
	doc, err := openapi3.NewLoader().LoadFromData(OpenAPI())
	if err != nil {
		t.Fatal(err)
	}
	if err := doc.Validate(context.Background()); err != nil {
		t.Fatalf("the document makes no sense: %v", err)
	}
	return doc
}

func paperOf(t *testing.T) *paper {
	t.Helper()
	doc := documentOf(t)
	no := false
	for _, s := range doc.Components.Schemas {
		if s.Value.Type.Is("object") {
			s.Value.AdditionalProperties = openapi3.AdditionalProperties{Has: &no}
		}
	}
	doc.Servers = nil
	r, err := gorillamux.NewRouter(doc)
	if err != nil {
		t.Fatal(err)
	}
	return &paper{t, r}
}

// exchange holds an answer, and a request that was not refused, against the document.
func (p *paper) exchange(r *http.Request, asked []byte, a *http.Response, told []byte) {
	p.t.Helper()
	route, params, err := p.router.FindRoute(r)
	if err != nil {
		return // what is not there is refused, and its problem is held elsewhere
	}
	in := &openapi3filter.RequestValidationInput{
		Request: r.Clone(p.t.Context()), PathParams: params, Route: route,
		Options: &openapi3filter.Options{AuthenticationFunc: openapi3filter.NoopAuthenticationFunc, IncludeResponseStatus: true},
	}
	in.Request.Body = io.NopCloser(bytes.NewReader(asked))
	if a.StatusCode < 300 {
		if err := openapi3filter.ValidateRequest(p.t.Context(), in); err != nil {
			p.t.Errorf("%s %s: taken, and not as the document says: %v", r.Method, r.URL, err)
		}
	}
	kind, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	in.Options.ExcludeResponseBody = kind != "application/json" && kind != "application/problem+json"
	out := &openapi3filter.ResponseValidationInput{RequestValidationInput: in, Status: a.StatusCode, Header: a.Header, Options: in.Options}
	out.SetBodyBytes(told)
	if err := openapi3filter.ValidateResponse(p.t.Context(), out); err != nil {
		p.t.Errorf("%s %s: answered with %s, and not as the document says: %v", r.Method, r.URL, told, err)
	}
}

func TestEveryRouteStandsInTheDocument(t *testing.T) {
	doc := documentOf(t)
	has := map[string]bool{}
	for path, item := range doc.Paths.Map() {
		for method, op := range item.Operations() {
			has[method+" "+path] = true
			if op.Summary == "" || op.OperationID == "" {
				t.Errorf("%s %s has no summary or no id", method, path)
			}
		}
	}
	a := &api{}
	for _, r := range a.routes() {
		name := r.method + " " + r.path
		if !has[name] {
			t.Errorf("%s is served, and does not stand in the document", name)
			continue
		}
		op := doc.Paths.Value(r.path).GetOperation(r.method)
		roles := map[need]string{toLook: "viewer", toRead: "operator or member", toAct: "operator"}
		if says, _ := op.Extensions["x-roam-role"].(string); says != roles[r.needs] || (r.needs == nothing) != (op.Security != nil && len(*op.Security) == 0) {
			t.Errorf("%s: the document says that it is for %q, want %q", name, says, roles[r.needs])
		}
		delete(has, name)
	}
	for name := range has {
		t.Errorf("%s stands in the document, and is not served", name)
	}
}

// TestEveryFieldStandsInTheDocument holds the types to the schemas, both ways.
func TestEveryFieldStandsInTheDocument(t *testing.T) {
	doc := documentOf(t)
	types := map[string]reflect.Type{}
	for _, v := range []any{
		Health{},
		Status{},
		Lease{},
		Handover{},
		Region{},
		Alarm{},
		Verdict{},
		Finding{},
		Check{},
		Move{},
		Moving{},
		Mode{},
		By{},
		Done{},
		Receipt{},
		Receipts{},
		Detailed{},
		Item{},
		Line{},
		ListHead{},
		ListEnd{},
		Events{},
		Control{},
		Rule{},
		Controls{},
		Change{},
		Changes{},
		Topology{},
		Webhook{},
		Webhooks{},
		Tested{},
		Problem{},
		Taken{},
		Name{},
	} {
		types[reflect.TypeOf(v).Name()] = reflect.TypeOf(v)
	}
	types["Member"], types["Event"], types["Notice"] = reflect.TypeFor[Seen](), reflect.TypeFor[events.Message](), reflect.TypeFor[events.Notice]()
	if got, want := slices.Sorted(maps.Keys(doc.Components.Schemas)), slices.Sorted(maps.Keys(types)); !slices.Equal(got, want) {
		t.Errorf("schemas %q, want %q", got, want)
	}
	for name, typ := range types {
		if schema := doc.Components.Schemas[name]; schema != nil {
			holdType(t, name, typ, schema.Value)
		}
	}
}

// holdType holds one type to its schema.
func holdType(t *testing.T, name string, typ reflect.Type, schema *openapi3.Schema) {
	t.Helper()
	left := maps.Clone(schema.Properties)
	for i := range typ.NumField() {
		tag := typ.Field(i).Tag.Get("json")
		if tag == "-" {
			continue
		}
		field, rest, _ := strings.Cut(tag, ",")
		prop := left[field]
		delete(left, field)
		if prop == nil {
			t.Errorf("%s.%s does not stand in the document", name, field)
			continue
		}
		always := !strings.HasPrefix(rest, "omit")
		if required := slices.Contains(schema.Required, field); required != always {
			t.Errorf("%s.%s: required in the document: %v, want %v", name, field, required, always)
		}
		if want, got := shapeOf(typ.Field(i).Type), schemaShape(prop); want != got {
			t.Errorf("%s.%s is %s in the document, want %s", name, field, got, want)
		}
	}
	for field := range left {
		t.Errorf("%s.%s stands in the document, and is never told", name, field)
	}
}

// shapeOf says what JSON makes of a type.
func shapeOf(t reflect.Type) string {
	switch {
	case t == reflect.TypeFor[time.Time]():
		return "date-time"
	case t == reflect.TypeFor[Seen]():
		return "Member"
	case t == reflect.TypeFor[events.Message]():
		return "Event"
	}
	switch t.Kind() { //nolint:exhaustive // no others are told
	case reflect.Pointer:
		return shapeOf(t.Elem())
	case reflect.Slice:
		return "[]" + shapeOf(t.Elem())
	case reflect.Struct:
		return t.Name()
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	case reflect.Float64:
		return "number"
	case reflect.Map:
		return "object"
	}
	return "integer"
}

func schemaShape(s *openapi3.SchemaRef) string {
	switch {
	case s.Ref != "":
		return s.Ref[strings.LastIndex(s.Ref, "/")+1:]
	case s.Value.Format == "date-time":
		return "date-time"
	case s.Value.Type.Is("array"):
		return "[]" + schemaShape(s.Value.Items)
	}
	return s.Value.Type.Slice()[0]
}

func TestDocumentIsServedToAnybody(t *testing.T) {
	var doc map[string]any
	a := serve(t, founded(t), nil).ask(asking{method: "GET", path: "/v1/openapi.json", token: "-"}, &doc)
	if a.StatusCode != http.StatusOK || doc["openapi"] != "3.1.0" {
		t.Errorf("status %d, openapi %v, want 3.1.0", a.StatusCode, doc["openapi"])
	}
	if !json.Valid(OpenAPI()) {
		t.Error("it is no JSON")
	}
}
