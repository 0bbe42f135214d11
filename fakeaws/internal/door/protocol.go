package door

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fxamacker/cbor/v2"
)

// A Protocol is how requests and replies are put on the wire.
type Protocol interface {
	// Read takes a request apart: what is asked for, and with which parameters.
	Read(r *http.Request, body []byte) (*Call, error)
	// Write puts a result into the body of a reply.
	Write(w http.ResponseWriter, c *Call, result any) error
	// Fail writes a fault.
	Fail(w http.ResponseWriter, c *Call, f *Fault)
	// JSON reports whether faults have the names that they have where errors are JSON.
	JSON() bool
}

// A Reply is a result of which more is said than its body. The protocols of REST take it.
type Reply struct {
	// Status is that of HTTP. 0: 200.
	Status int
	// Header is what else stands in the head.
	Header map[string]string
	// Body is encoded; nil: there is none.
	Body any
	// Raw is the body as it is, if Body is nil.
	Raw []byte
}

func asReply(result any) Reply {
	if r, ok := result.(Reply); ok {
		return r
	}
	return Reply{Body: result}
}

// begin writes the head of a reply.
func (r Reply) begin(w http.ResponseWriter, contentType string) {
	if w.Header().Get("Content-Type") == "" && (r.Body != nil || r.Raw != nil) {
		w.Header().Set("Content-Type", contentType)
	}
	for k, v := range r.Header {
		w.Header().Set(k, v)
	}
	if r.Status == 0 {
		r.Status = http.StatusOK
	}
	w.WriteHeader(r.Status)
}

// Query is the protocol of forms that are answered in XML.
type Query struct {
	// Namespace is that of the replies, and Version of the requests.
	Namespace, Version string
}

// Read reads a form.
func (q Query) Read(_ *http.Request, body []byte) (*Call, error) {
	p, err := ParseQuery(string(body))
	if err != nil {
		return nil, refusal{unreadable, err.Error()}
	}
	c := &Call{Action: p.Str("Action"), Params: p}
	switch {
	case c.Action == "":
		return c, refusal{unknownCall, "Could not find operation: no Action"}
	case p.Str("Version") != q.Version:
		return c, refusal{unknownCall, fmt.Sprintf("Could not find operation %s for version %s", c.Action, p.Str("Version"))}
	}
	return c, nil
}

// Write writes the result within its response.
func (q Query) Write(w http.ResponseWriter, c *Call, result any) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, `<%sResponse xmlns="%s">`, c.Action, q.Namespace)
	e := xml.NewEncoder(&b)
	if result != nil {
		if err := e.EncodeElement(asTree(result), xml.StartElement{Name: xml.Name{Local: c.Action + "Result"}}); err != nil {
			return err
		}
	}
	fmt.Fprintf(&b, "<ResponseMetadata><RequestId>%s</RequestId></ResponseMetadata></%sResponse>", c.ID, c.Action)
	w.Header().Set("Content-Type", "text/xml")
	_, err := w.Write(b.Bytes())
	return err
}

// Fail writes an ErrorResponse.
func (q Query) Fail(w http.ResponseWriter, c *Call, f *Fault) { failXML(w, c, f, q.Namespace) }

// JSON is false.
func (Query) JSON() bool { return false }

// failXML writes what a fault is where errors are XML.
func failXML(w http.ResponseWriter, c *Call, f *Fault, namespace string) {
	kind := "Sender"
	if f.status() >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	var b bytes.Buffer
	if f.Messages != nil { // Route 53's InvalidChangeBatch is a root of its own
		fmt.Fprintf(&b, `<%s xmlns="%s"><Messages>`, f.Code, namespace)
		for _, m := range f.Messages {
			fmt.Fprintf(&b, "<Message>%s</Message>", escapeXML(m))
		}
		fmt.Fprintf(&b, "</Messages><RequestId>%s</RequestId></%s>", c.ID, f.Code)
	} else {
		fmt.Fprintf(&b, `<ErrorResponse xmlns="%s"><Error><Type>%s</Type><Code>%s</Code><Message>%s</Message></Error><RequestId>%s</RequestId></ErrorResponse>`,
			namespace, kind, f.Code, escapeXML(f.Message), c.ID)
	}
	w.Header().Set("Content-Type", "text/xml")
	w.WriteHeader(f.status())
	_, _ = w.Write(b.Bytes()) // whoever has gone does not hear it
}

func escapeXML(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes all
	return b.String()
}

// A tree is a result made of maps and lists, which encoding/xml does not know.
type tree map[string]any

// asTree lets maps be written as XML; everything else is as it is.
func asTree(v any) any {
	if m, ok := v.(map[string]any); ok {
		return tree(m)
	}
	return v
}

// MarshalXML writes the names in their order, and the elements of lists as member.
func (t tree) MarshalXML(e *xml.Encoder, start xml.StartElement) error {
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(t)) {
		if err := encodeTree(e, name, t[name]); err != nil {
			return err
		}
	}
	return e.EncodeToken(start.End())
}

func encodeTree(e *xml.Encoder, name string, v any) error {
	start := xml.StartElement{Name: xml.Name{Local: name}}
	list, ok := v.([]any)
	if !ok {
		return e.EncodeElement(asTree(v), start)
	}
	if err := e.EncodeToken(start); err != nil {
		return err
	}
	for _, v := range list {
		if err := encodeTree(e, "member", v); err != nil {
			return err
		}
	}
	return e.EncodeToken(start.End())
}

// A Route is one operation of a REST protocol.
type Route struct {
	// Action is its name.
	Action string
	// Method is that of HTTP.
	Method string
	// Path has {Name} where a variable stands. A slash at the end of a request's path is
	// as good as none.
	Path string
}

// find returns the route of a request and its variables.
func find(routes []Route, r *http.Request) (string, map[string]string, error) {
	have := strings.Split(strings.TrimSuffix(r.URL.Path, "/"), "/")
next:
	for _, route := range routes {
		want := strings.Split(route.Path, "/")
		if route.Method != r.Method || len(want) != len(have) {
			continue
		}
		vars := map[string]string{}
		for i, w := range want {
			name, isVar := strings.CutPrefix(w, "{")
			switch {
			case isVar && have[i] != "":
				vars[strings.TrimSuffix(name, "}")] = have[i]
			case w != have[i]:
				continue next
			}
		}
		return route.Action, vars, nil
	}
	return "", nil, refusal{unknownCall, fmt.Sprintf("no operation is %s %s", r.Method, r.URL.Path)}
}

// RESTXML is the protocol of Route 53.
type RESTXML struct {
	// Namespace is that of the replies.
	Namespace string
	// Routes are the operations.
	Routes []Route
}

// Read finds the route. The body is left to the service.
func (x RESTXML) Read(r *http.Request, body []byte) (*Call, error) {
	action, vars, err := find(x.Routes, r)
	return &Call{Action: action, Vars: vars, Query: r.URL.Query(), Body: body}, err
}

// Write writes a body that is called as the action's response.
func (x RESTXML) Write(w http.ResponseWriter, c *Call, result any) error {
	r := asReply(result)
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if r.Body != nil {
		start := xml.StartElement{
			Name: xml.Name{Local: c.Action + "Response"},
			Attr: []xml.Attr{{Name: xml.Name{Local: "xmlns"}, Value: x.Namespace}},
		}
		if err := xml.NewEncoder(&b).EncodeElement(r.Body, start); err != nil {
			return err
		}
	}
	r.begin(w, "text/xml")
	_, err := w.Write(b.Bytes())
	return err
}

// Fail writes an ErrorResponse, or an InvalidChangeBatch.
func (x RESTXML) Fail(w http.ResponseWriter, c *Call, f *Fault) { failXML(w, c, f, x.Namespace) }

// JSON is false.
func (RESTXML) JSON() bool { return false }

// JSON is the protocol in which X-Amz-Target says what is asked for.
type JSON struct {
	// Prefix stands before the action in X-Amz-Target, with its dot.
	Prefix string
	// Version is 1.0 or 1.1.
	Version string
}

// Read reads an object.
func (j JSON) Read(r *http.Request, body []byte) (*Call, error) {
	action, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), j.Prefix)
	if !ok || action == "" {
		return nil, refusal{unknownCall, fmt.Sprintf("X-Amz-Target %.80q is no operation", r.Header.Get("X-Amz-Target"))}
	}
	if got, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";"); got != j.contentType() {
		return nil, refusal{unreadable, fmt.Sprintf("Content-Type %.80q: want %s", got, j.contentType())}
	}
	p, err := ParseJSON(body)
	if err != nil {
		return nil, refusal{unreadable, err.Error()}
	}
	return &Call{Action: action, Params: p}, nil
}

func (j JSON) contentType() string { return "application/x-amz-json-" + j.Version }

// Write writes an object.
func (j JSON) Write(w http.ResponseWriter, _ *Call, result any) error {
	if result == nil {
		result = struct{}{}
	}
	text, err := json.Marshal(epochs(result))
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", j.contentType())
	_, err = w.Write(text)
	return err
}

// epochs writes the times in maps and lists as this protocol does, in seconds.
func epochs(v any) any {
	switch v := v.(type) {
	case time.Time:
		return float64(v.UnixMilli()) / 1000
	case map[string]any:
		out := map[string]any{}
		for k, v := range v {
			out[k] = epochs(v)
		}
		return out
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = epochs(v[i])
		}
		return out
	}
	return v
}

// Fail writes the fault's type, its message and what else it has.
func (j JSON) Fail(w http.ResponseWriter, _ *Call, f *Fault) {
	body := map[string]any{"__type": f.Code, "message": f.Message}
	maps.Copy(body, f.More)
	text, _ := json.Marshal(body) // texts and numbers alone
	w.Header().Set("Content-Type", j.contentType())
	w.WriteHeader(f.status())
	_, _ = w.Write(text) // whoever has gone does not hear it
}

// JSON is true.
func (JSON) JSON() bool { return true }

// RESTJSON is the protocol of Lambda.
type RESTJSON struct {
	// Routes are the operations.
	Routes []Route
}

// Read finds the route and reads an object. A body that is none is left to the service.
func (j RESTJSON) Read(r *http.Request, body []byte) (*Call, error) {
	action, vars, err := find(j.Routes, r)
	c := &Call{Action: action, Vars: vars, Query: r.URL.Query(), Body: body, Header: r.Header}
	if p, bad := ParseJSON(body); bad == nil {
		c.Params = p
	}
	return c, err
}

// Write writes an object, or what is raw.
func (RESTJSON) Write(w http.ResponseWriter, _ *Call, result any) error {
	r := asReply(result)
	text := r.Raw
	if r.Body != nil {
		var err error
		if text, err = json.Marshal(r.Body); err != nil {
			return err
		}
	}
	r.begin(w, "application/json")
	_, err := w.Write(text)
	return err
}

// Fail writes the fault's type into the head.
func (RESTJSON) Fail(w http.ResponseWriter, _ *Call, f *Fault) {
	body := map[string]any{"Message": f.Message, "Type": "User"}
	maps.Copy(body, f.More)
	text, _ := json.Marshal(body) // texts and numbers alone
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-Errortype", f.Code)
	w.WriteHeader(f.status())
	_, _ = w.Write(text) // whoever has gone does not hear it
}

// JSON is true.
func (RESTJSON) JSON() bool { return true }

// CBOR is Smithy's RPC v2 in CBOR, which CloudWatch speaks.
type CBOR struct {
	// Service is its name in paths.
	Service string
}

// smithyHeader is what both sides of CBOR say.
const smithyHeader, smithyValue = "Smithy-Protocol", "rpc-v2-cbor"

// Read reads an object.
func (b CBOR) Read(r *http.Request, body []byte) (*Call, error) {
	action, ok := strings.CutPrefix(r.URL.Path, "/service/"+b.Service+"/operation/")
	if !ok || r.Header.Get(smithyHeader) != smithyValue || strings.Contains(action, "/") {
		return nil, refusal{unknownCall, fmt.Sprintf("no operation is %.80q", r.URL.Path)}
	}
	p, err := ParseCBOR(body)
	if err != nil {
		return nil, refusal{unreadable, err.Error()}
	}
	return &Call{Action: action, Params: p}, nil
}

// Write writes an object.
func (b CBOR) Write(w http.ResponseWriter, _ *Call, result any) error {
	if result == nil {
		result = map[string]any{}
	}
	return b.write(w, http.StatusOK, result)
}

func (CBOR) write(w http.ResponseWriter, status int, body any) error {
	mode, err := cbor.EncOptions{Time: cbor.TimeUnixMicro, TimeTag: cbor.EncTagRequired}.EncMode()
	if err != nil {
		return err
	}
	text, err := mode.Marshal(body)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/cbor")
	w.Header().Set(smithyHeader, smithyValue)
	w.WriteHeader(status)
	_, err = w.Write(text)
	return err
}

// Fail writes the fault's type, and its name of the query protocol into the head, as
// services do that spoke that first.
func (b CBOR) Fail(w http.ResponseWriter, _ *Call, f *Fault) {
	kind := "Sender"
	if f.status() >= http.StatusInternalServerError {
		kind = "Receiver"
	}
	w.Header().Set("X-Amzn-Query-Error", f.Code+";"+kind)
	_ = b.write(w, f.status(), map[string]any{"__type": f.Code, "message": f.Message}) // whoever has gone does not hear it
}

// JSON is true.
func (CBOR) JSON() bool { return true }

// unzip undoes a body's Content-Encoding, as far as most bytes.
func unzip(r *http.Request, body []byte, most int64) ([]byte, error) {
	switch r.Header.Get("Content-Encoding") {
	case "", "identity":
		return body, nil
	case "gzip":
	default:
		return nil, refusal{unreadable, "Content-Encoding is not gzip"}
	}
	z, err := gzip.NewReader(bytes.NewReader(body))
	if err != nil {
		return nil, refusal{unreadable, err.Error()}
	}
	out, err := io.ReadAll(io.LimitReader(z, most+1))
	if err == nil && int64(len(out)) > most {
		err = errors.New("the body is too large")
	}
	if err != nil {
		return nil, refusal{unreadable, err.Error()}
	}
	return out, nil
}
