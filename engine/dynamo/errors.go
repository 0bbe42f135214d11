package dynamo

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/smithy-go"

	"github.com/roam-sessions/roam/crdt"
	"github.com/roam-sessions/roam/engine"
)

// A failure is what became of a request.
type failure struct {
	kind  error // of package engine or crdt
	again bool  // asking again may help
	cause error
}

// Error returns the kind and the cause.
func (f *failure) Error() string { return fmt.Sprintf("%v: %v", f.kind, f.cause) }

// Unwrap returns the kind and the cause.
func (f *failure) Unwrap() []error { return []error{f.kind, f.cause} }

// errConflict: somebody else has written the item since it was read. Nothing was written.
var errConflict = fmt.Errorf("%w: others write the record all the time", engine.ErrUnreachable)

// isWorthATry reports whether asking again may help after err.
func isWorthATry(err error) bool {
	f, ok := errors.AsType[*failure](err)
	return ok && f.again || errors.Is(err, errConflict)
}

// notWritten returns what the failure of a read is to a write that needs it: known.
func notWritten(err error) error {
	if f, ok := errors.AsType[*failure](err); ok && !engine.OutcomeKnown(err) {
		return &failure{kind: engine.ErrUnreachable, again: f.again, cause: f.cause}
	}
	return err
}

// ended returns err, and why ctx ended where that is why nothing more was tried.
func ended(ctx context.Context, err error) error {
	if ctx.Err() == nil || !isWorthATry(err) || errors.Is(err, ctx.Err()) {
		return err
	}
	kind := engine.ErrUnavailable
	if engine.OutcomeKnown(err) {
		kind = engine.ErrUnreachable
	}
	return fmt.Errorf("%w: %w: %v", kind, engine.Ended(ctx), err) //nolint:errorlint // its kind is said
}

// classify returns what err of a request is, whether a byte of it was sent or not. Only what
// DynamoDB itself says for certain counts as not done: of an error with another name, or
// of status 500, nobody knows.
func classify(ctx context.Context, sent bool, err error) error {
	if err == nil {
		return nil
	}
	if api, ok := errors.AsType[smithy.APIError](err); ok && sent {
		return classifyReply(api, err)
	}
	f := &failure{kind: engine.ErrUnreachable, again: true, cause: err}
	if sent {
		f.kind = engine.ErrUnavailable
	}
	if ctx.Err() != nil {
		f.cause = engine.Ended(ctx)
	}
	return f
}

// classifyReply returns what a reply is that says what went wrong.
func classifyReply(api smithy.APIError, err error) error {
	f := &failure{kind: engine.ErrUnreachable, cause: err}
	switch code := api.ErrorCode(); code {
	case "ConditionalCheckFailedException":
		return errConflict
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "Throttling",
		"TransactionConflictException", "TransactionInProgressException", "ReplicatedWriteConflictException":
		f.again = true
	case "ItemCollectionSizeLimitExceededException":
		f.kind = crdt.ErrLimit
	case "ValidationException":
		if strings.Contains(strings.ToLower(api.ErrorMessage()), "item size") {
			f.kind = crdt.ErrLimit
		}
	case "ExpiredTokenException", "ExpiredToken":
		f.again = true // with others: table.failed sees to it
	case "AccessDeniedException", "UnrecognizedClientException", "InvalidSignatureException", "IncompleteSignatureException",
		"MissingAuthenticationTokenException", "MissingAuthenticationToken", "InvalidClientTokenId", "OptInRequired",
		"ResourceNotFoundException", "SerializationException", "UnknownOperationException":
	case "InternalServerError", "InternalServerErrorException", "InternalFailure", "ServiceUnavailable", "ServiceUnavailableException":
		f.kind, f.again = engine.ErrUnavailable, true
	default:
		f.kind = engine.ErrUnavailable
	}
	return f
}

// isExpired reports whether err says that the credentials have expired.
func isExpired(err error) bool {
	api, ok := errors.AsType[smithy.APIError](err)
	return ok && strings.HasPrefix(api.ErrorCode(), "ExpiredToken")
}
