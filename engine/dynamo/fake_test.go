package dynamo

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/roam-sessions/roam/crdt"
)

const (
	testRegion = "us-west-2"
	testTable  = "sessions"
)

// testCredentials are who tests sign as.
func testCredentials() aws.CredentialsProvider {
	return aws.NewCredentialsCache(aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: "AKIDTEST", SecretAccessKey: "secret", SessionToken: "session"}, nil
	}))
}

// A service is DynamoDB as far as the engine knows it, over HTTP: it checks signatures and
// takes only what the policy allows.
type service struct {
	*httptest.Server
	t        testing.TB
	describe map[string]any // of the table
	ttl      string         // the attribute; "": off
	pageSize int            // items; 0: no bound

	mu    sync.Mutex // guards what follows
	items map[string]map[string]map[string]map[string]string
	asked []string                      // operations
	news  sync.Cond                     // of asked
	fault func(op string, n int) *fault // of the n-th request, from 1; nil: none
}

// A fault is what becomes of a request.
type fault struct {
	status  int    // of the reply; 0: none, the connection is cut
	code    string // in it
	message string
	done    bool          // it is done before that
	hold    chan struct{} // nothing happens before it is closed
}

func newService(t testing.TB) *service {
	t.Helper()
	s := &service{t: t, items: map[string]map[string]map[string]map[string]string{}, ttl: attrExpiry, describe: describedTable()}
	s.news.L = &s.mu
	s.Server = httptest.NewServer(s)
	t.Cleanup(s.Close)
	return s
}

func describedTable() map[string]any {
	return map[string]any{
		"TableName": testTable, "TableStatus": "ACTIVE",
		"KeySchema":            []any{map[string]any{"AttributeName": "pk", "KeyType": "HASH"}, map[string]any{"AttributeName": "wr", "KeyType": "RANGE"}},
		"AttributeDefinitions": []any{map[string]any{"AttributeName": "pk", "AttributeType": "S"}, map[string]any{"AttributeName": "wr", "AttributeType": "N"}},
	}
}

func (s *service) config() Config {
	return Config{Table: testTable, Region: testRegion, Endpoint: s.URL, Credentials: testCredentials()}
}

// open opens an engine of a Region for the service's table.
func (s *service) open(t testing.TB, here crdt.Region, edit ...func(*Config)) *Engine {
	t.Helper()
	c := s.config()
	for _, f := range edit {
		f(&c)
	}
	e, err := Open(t.Context(), here, c)
	if err != nil {
		t.Fatalf("Open(%d) = %v, want an engine", here, err)
	}
	t.Cleanup(func() { _ = e.Close() }) // never fails
	return e
}

// breakAt has the n-th requests of an operation fail, counted from now; 0: all.
func (s *service) breakAt(op string, f fault, at ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	s.fault = func(got string, _ int) *fault {
		if got != op {
			return nil
		}
		if n++; slices.Contains(at, n) || slices.Contains(at, 0) {
			return &f
		}
		return nil
	}
}

// await waits until an operation was asked for n times.
func (s *service) await(op string, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for count(s.asked, op) < n {
		s.news.Wait()
	}
}

func (s *service) operations() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the client left
	}
	op, in := s.understand(r, body)
	f := s.note(op)
	if f != nil && f.hold != nil {
		select {
		case <-f.hold:
		case <-r.Context().Done():
			return
		}
	}
	status, out := 0, any(nil)
	if f == nil || f.done {
		status, out = s.do(op, in)
	}
	switch {
	case f == nil:
	case f.status == 0:
		panic(http.ErrAbortHandler)
	default:
		status, out = f.status, failed(f.code, f.message)
	}
	reply, err := json.Marshal(out)
	if err != nil {
		s.t.Errorf("%s: %v", op, err)
	}
	w.Header().Set("Content-Type", "application/x-amz-json-1.0")
	w.Header().Set("X-Amz-Crc32", strconv.FormatUint(uint64(crc32.ChecksumIEEE(reply)), 10))
	w.WriteHeader(status)
	_, _ = w.Write(reply) // the client may have left
}

// understand returns what is asked for, and checks how.
func (s *service) understand(r *http.Request, body []byte) (op string, in request) {
	op, ok := strings.CutPrefix(r.Header.Get("X-Amz-Target"), "DynamoDB_20120810.")
	if !ok || r.Header.Get("Content-Type") != "application/x-amz-json-1.0" || r.Method != http.MethodPost || r.URL.Path != "/" {
		s.t.Errorf("request %s %s, target %q, type %q: want DynamoDB's JSON 1.0", r.Method, r.URL, r.Header.Get("X-Amz-Target"), r.Header.Get("Content-Type"))
	}
	if err := checkSignature(r, body); err != nil {
		s.t.Errorf("%s: %v", op, err)
	}
	if err := json.Unmarshal(body, &in); err != nil || in.TableName != testTable {
		s.t.Errorf("%s of table %q: %v", op, in.TableName, err)
	}
	return op, in
}

func (s *service) note(op string) *fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, op)
	s.news.Broadcast()
	if s.fault == nil {
		return nil
	}
	return s.fault(op, len(s.asked))
}

// checkSignature signs the request again and compares.
func checkSignature(r *http.Request, body []byte) error {
	got := r.Header.Get("Authorization")
	_, rest, ok := strings.Cut(got, "SignedHeaders=")
	if !ok {
		return fmt.Errorf("not signed: %q", got)
	}
	names, _, _ := strings.Cut(rest, ",")
	again, err := http.NewRequest(http.MethodPost, "http://"+r.Host+"/", bytes.NewReader(body))
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(names, ";") {
		if name != "host" && name != "content-length" {
			again.Header.Set(name, r.Header.Get(name))
		}
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	who, _ := testCredentials().Retrieve(context.Background())
	if err := v4.NewSigner().SignHTTP(context.Background(), who, again, hex.EncodeToString(sum[:]), "dynamodb", testRegion, at); err != nil {
		return err
	}
	if want := again.Header.Get("Authorization"); got != want {
		return fmt.Errorf("Authorization = %q, want %q", got, want)
	}
	for _, must := range []string{"host", "x-amz-date", "x-amz-target", "x-amz-security-token"} {
		if !slices.Contains(strings.Split(names, ";"), must) {
			return fmt.Errorf("%s is not signed", must)
		}
	}
	return nil
}

// A request is what the operations have in common.
type request struct {
	TableName                 string
	Item, Key                 map[string]map[string]string
	ConditionExpression       string
	KeyConditionExpression    string
	ConsistentRead            bool
	ExpressionAttributeValues map[string]map[string]string
	ExclusiveStartKey         map[string]map[string]string
	FilterExpression          string
	ExpressionAttributeNames  map[string]string
	Segment, TotalSegments    *int
}

func failed(code, message string) any {
	return map[string]string{"__type": "com.amazonaws.dynamodb.v20120810#" + code, "message": message}
}

func (s *service) do(op string, in request) (int, any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch op {
	case "DescribeTable":
		return http.StatusOK, map[string]any{"Table": s.describe}
	case "DescribeTimeToLive":
		if s.ttl == "" {
			return http.StatusOK, map[string]any{"TimeToLiveDescription": map[string]string{"TimeToLiveStatus": "DISABLED"}}
		}
		return http.StatusOK, map[string]any{"TimeToLiveDescription": map[string]string{"TimeToLiveStatus": "ENABLED", "AttributeName": s.ttl}}
	case "Query":
		if in.KeyConditionExpression != "pk = :k" || !in.ConsistentRead {
			s.t.Errorf("Query of %q, consistent %v", in.KeyConditionExpression, in.ConsistentRead)
		}
		return http.StatusOK, s.page(s.sorted(in.ExpressionAttributeValues[":k"]["S"]), in)
	case "Scan":
		return http.StatusOK, s.page(s.segment(in), in)
	case "PutItem", "DeleteItem":
		return s.write(op, in)
	}
	s.t.Errorf("operation %q is not DynamoDB's, or not one of the policy's", op)
	return http.StatusBadRequest, failed("UnknownOperationException", "")
}

func (s *service) write(op string, in request) (int, any) {
	key := in.Key
	if op == "PutItem" {
		key = in.Item
	}
	pk, wr := key["pk"]["S"], key["wr"]["N"]
	rows := s.items[in.TableName]
	if rows == nil {
		rows = map[string]map[string]map[string]string{}
		s.items[in.TableName] = rows
	}
	id := pk + "/" + wr
	now, there := rows[id]
	met := false
	switch in.ConditionExpression {
	case "attribute_not_exists(pk)":
		met = !there
	case "v = :v":
		met = there && now["v"]["B"] == in.ExpressionAttributeValues[":v"]["B"]
	default:
		s.t.Errorf("%s with condition %q", op, in.ConditionExpression)
	}
	if !met {
		return http.StatusBadRequest, failed("ConditionalCheckFailedException", "The conditional request failed")
	}
	if op == "PutItem" {
		rows[id] = in.Item
	} else {
		delete(rows, id)
	}
	return http.StatusOK, map[string]any{}
}

// sorted returns the items of a record, or all.
func (s *service) sorted(pk string) []map[string]map[string]string {
	var out []map[string]map[string]string
	for _, row := range s.items[testTable] {
		if pk == "" || row["pk"]["S"] == pk {
			out = append(out, row)
		}
	}
	slices.SortFunc(out, compareRows)
	return out
}

// segment returns the items that a scan is to read: all, or one segment's.
func (s *service) segment(in request) []map[string]map[string]string {
	if in.Segment == nil && in.TotalSegments == nil && in.FilterExpression == "" && in.ConsistentRead {
		return s.sorted("")
	}
	if in.Segment == nil || in.TotalSegments == nil || *in.Segment < 0 || *in.Segment >= *in.TotalSegments ||
		in.FilterExpression != "#e < :t" || in.ExpressionAttributeNames["#e"] != attrExpiry || in.ConsistentRead {
		s.t.Errorf("Scan of %+v", in)
		return nil
	}
	elsewhere := func(pk string) bool {
		hash, err := strconv.ParseUint(pk[:8], 16, 32)
		return err != nil || int(hash*uint64(*in.TotalSegments)>>32) != *in.Segment //nolint:gosec // a few hundred
	}
	if from := in.ExclusiveStartKey; from != nil && elsewhere(from["pk"]["S"]) {
		s.t.Errorf("segment %d goes on in another: %v", *in.Segment, from)
	}
	return slices.DeleteFunc(s.sorted(""), func(row map[string]map[string]string) bool { return elsewhere(row["pk"]["S"]) })
}

// past drops what a filter does not let pass, of a page that was read.
func past(rows []map[string]map[string]string, in request) []map[string]map[string]string {
	if in.FilterExpression == "" {
		return rows
	}
	before, _ := strconv.ParseInt(in.ExpressionAttributeValues[":t"]["N"], 10, 64)
	return slices.DeleteFunc(rows, func(row map[string]map[string]string) bool {
		at, err := strconv.ParseInt(row[attrExpiry]["N"], 10, 64)
		return err != nil || at >= before
	})
}

func compareRows(a, b map[string]map[string]string) int {
	x, _ := strconv.Atoi(a["wr"]["N"])
	y, _ := strconv.Atoi(b["wr"]["N"])
	return cmp.Or(strings.Compare(a["pk"]["S"], b["pk"]["S"]), cmp.Compare(x, y))
}

func (s *service) page(rows []map[string]map[string]string, in request) any {
	if in.ExclusiveStartKey != nil {
		rows = slices.DeleteFunc(rows, func(row map[string]map[string]string) bool { return compareRows(row, in.ExclusiveStartKey) <= 0 })
	}
	out := map[string]any{}
	if s.pageSize > 0 && len(rows) > s.pageSize {
		rows = rows[:s.pageSize]
		last := rows[len(rows)-1]
		out["LastEvaluatedKey"] = map[string]any{"pk": last["pk"], "wr": last["wr"]}
	}
	rows = past(rows, in)
	out["Items"], out["Count"] = rows, len(rows)
	return out
}

// edit changes an item of the table behind the engine's back.
func (s *service) edit(k crdt.Key, writer int, change func(map[string]map[string]string)) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	id := keyOf(k) + "/" + strconv.Itoa(writer)
	row, ok := s.items[testTable][id]
	if !ok {
		s.t.Fatalf("no item of writer %d", writer)
	}
	row = maps.Clone(row)
	change(row)
	s.items[testTable][id] = row
}

func encode64(b []byte) string { return base64.StdEncoding.EncodeToString(b) }
