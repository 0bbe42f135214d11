package route53

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/route53/types"
	"github.com/aws/smithy-go"
	"github.com/roam-sessions/roam/internal/dns"
)

// ErrPending says that a change was taken, and that not all servers of Route 53 were seen to
// answer by it in time. They will.
var ErrPending = errors.New("not all servers know of it yet")

// ErrNotPrimary is for guards to say that a Region is not the primary any more. Nothing was
// changed after it.
var ErrNotPrimary = errors.New("the Region is not the primary any more")

var (
	errChanged    = errors.New("somebody else changed it meanwhile")
	errOther      = errors.New("what there is has changed since the batch was shown: look again")
	errNewer      = errors.New("something else is to be published")
	errUnverified = errors.New("what was written is not what is listed")
)

// told returns what an error of Route 53 means to whoever asked. What is neither refused nor
// changed may be tried again: throttles, a batch that came before ours and is not done
// (PriorRequestNotComplete), what is Route 53's own fault, and silence.
func told(err error) error {
	if bad := new(types.InvalidChangeBatch); errors.As(err, &bad) {
		if len(bad.Messages) == 0 {
			return fmt.Errorf("%w: %w", errChanged, err)
		}
		return fmt.Errorf("%w: %s", errChanged, strings.Join(bad.Messages, "; "))
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return err
	}
	switch api.ErrorCode() {
	case "NoSuchHostedZone", "NoSuchHealthCheck", "InvalidInput", "InvalidArgument", "AccessDenied", "AccessDeniedException",
		"NotAuthorizedException", "InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId",
		"SignatureDoesNotMatch", "IncompleteSignature", "MissingAuthenticationToken", "OptInRequired", "ValidationError":
		return fmt.Errorf("%w: %w", dns.ErrRefused, err)
	}
	return err
}

// final reports whether an error stays whatever is tried again.
func final(ctx context.Context, err error) bool {
	return errors.Is(err, dns.ErrRefused) || errors.Is(err, dns.ErrOccupied) || errors.Is(err, dns.ErrStale) ||
		errors.Is(err, errNoTarget) || errors.Is(err, errOther) || errors.Is(err, ErrNotPrimary) || errors.Is(err, ErrPending) || ctx.Err() != nil
}
