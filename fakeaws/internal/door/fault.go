package door

import (
	"errors"
	"fmt"
	"net/http"
)

// A Fault is an error that callers get, as it goes over the wire.
type Fault struct {
	// Code is what SDKs tell errors apart by.
	Code string
	// Status is that of HTTP. 0: 400.
	Status int
	// Message is for people.
	Message string
	// Messages are those of an InvalidChangeBatch; else nil.
	Messages []string
	// More are further members of a JSON error.
	More map[string]any
}

// Error returns the code and the message.
func (f *Fault) Error() string { return f.Code + ": " + f.Message }

// status is the code for HTTP.
func (f *Fault) status() int {
	if f.Status == 0 {
		return http.StatusBadRequest
	}
	return f.Status
}

// Faultf returns a fault with a status of HTTP.
func Faultf(status int, code, format string, args ...any) *Fault {
	return &Fault{Code: code, Status: status, Message: fmt.Sprintf(format, args...)}
}

// asFault is the fault that an error is. What is none is a fault of the fakes, and says so.
func asFault(err error) *Fault {
	if f, ok := errors.AsType[*Fault](err); ok {
		return f
	}
	return Faultf(http.StatusInternalServerError, "InternalFailure", "fakeaws: %v", err)
}

// A refusal is a reason for which the door itself lets nobody in. Protocols call it by
// different names.
type refusal struct {
	kind    refusalKind
	message string
}

// Error returns the message.
func (r refusal) Error() string { return r.message }

// A refusalKind is what refusals have in common.
type refusalKind int

const (
	noToken      refusalKind = iota // no signature at all
	badHeader                       // a signature that can't be read
	unknownKey                      // of a stranger
	badSignature                    // also one of another scope or time
	denied                          // by policy
	throttled                       // too often
	away                            // an outage
	unreadable                      // the body is not of the protocol
	unknownCall                     // no such action
)

// codes are the names of a refusal where errors are XML, where they are JSON, and its status.
func (k refusalKind) codes() (xml, json string, status int) {
	switch k {
	case noToken:
		return "MissingAuthenticationToken", "MissingAuthenticationTokenException", http.StatusForbidden
	case badHeader:
		return "IncompleteSignature", "IncompleteSignatureException", http.StatusBadRequest
	case unknownKey:
		return "InvalidClientTokenId", "UnrecognizedClientException", http.StatusForbidden
	case badSignature:
		return "SignatureDoesNotMatch", "InvalidSignatureException", http.StatusForbidden
	case denied:
		return "AccessDenied", "AccessDeniedException", http.StatusForbidden
	case throttled:
		return "Throttling", "ThrottlingException", http.StatusBadRequest
	case away:
		return "ServiceUnavailable", "ServiceUnavailableException", http.StatusServiceUnavailable
	case unreadable:
		return "MalformedInput", "SerializationException", http.StatusBadRequest
	default:
		return "InvalidAction", "UnknownOperationException", http.StatusBadRequest
	}
}

// asXML is how a refusal is told in XML.
func (r refusal) asXML() *Fault {
	code, _, status := r.kind.codes()
	return &Fault{Code: code, Status: status, Message: r.message}
}

// asJSON is how a refusal is told in JSON.
func (r refusal) asJSON() *Fault {
	_, code, status := r.kind.codes()
	return &Fault{Code: code, Status: status, Message: r.message}
}
