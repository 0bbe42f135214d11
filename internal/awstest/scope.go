package awstest

import (
	"net/http"
	"time"
)

// Signed returns the Region and the service that a request with a body is signed for. It fails if its signature is
// wrong, of another time, or of another key than KeyID's. It is for fakes of other services than a World has.
func Signed(r *http.Request, body []byte, now time.Time) (region, service string, err error) {
	s, err := verify(r, body, now)
	return s.region, s.service, err
}
