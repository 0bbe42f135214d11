package events

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/roam-sessions/roam/internal/ledger"
)

const (
	// snsSubject is what ElastiCache's notifications have.
	snsSubject = "Amazon ElastiCache Notification"
	// snsTime is how SNS writes times.
	snsTime = "2006-01-02T15:04:05.000Z"
	// snsSignature stands where SNS says how it signed. We don't sign as AWS does, and
	// whoever verifies AWS's signatures is to refuse this one.
	snsSignature = "roam-signature-header"
)

// A snsMessage is an HTTP notification of SNS, in its own order and words.
type snsMessage struct {
	Type             string
	MessageID        string `json:"MessageId"`
	TopicArn         string
	Subject          string
	Message          string
	Timestamp        string
	SignatureVersion string
	Signature        string
	SigningCertURL   string
	UnsubscribeURL   string
}

// encodeSNS returns the message's bytes in the shape of SNS.
func (m Message) encodeSNS(topic string) ([]byte, error) {
	text, err := m.inSNS()
	if err != nil {
		return nil, err
	}
	b, err := json.Marshal(snsMessage{
		Type: "Notification", MessageID: m.uuid(), TopicArn: topic, Subject: snsSubject, Message: text,
		Timestamp: m.At.UTC().Format(snsTime), SignatureVersion: snsSignature,
	})
	if err != nil {
		return nil, fmt.Errorf("encode event %s for SNS: %w", m.ID, err)
	}
	return b, nil
}

// inSNS returns the text within a notification: an object of strings. What ElastiCache
// would tell too has its key, with the Region in the place of the replication group, and
// has it first: some receivers look at the first key alone. All else has keys of ours,
// which whoever looks for ElastiCache's does not see.
func (m Message) inSNS() (string, error) {
	first := "Roam:" + string(m.Kind)
	if m.Kind == ledger.KindPromoted {
		first = "ElastiCache:ReplicationGroupPromotedAsPrimary"
	}
	out := []byte{'{'}
	for i, pair := range [][2]string{
		{first, m.Region},
		{"Roam:Deployment", m.Deployment},
		{"Roam:Seq", strconv.FormatUint(m.Seq, 10)},
		{"Roam:Epoch", strconv.FormatUint(m.Epoch, 10)},
		{"Roam:Other", m.Other},
		{"Roam:Text", m.Text},
	} {
		if i > 0 {
			out = append(out, ',')
		}
		for j, word := range pair {
			b, err := json.Marshal(word)
			if err != nil {
				return "", fmt.Errorf("encode event %s for SNS: %w", m.ID, err)
			}
			if j > 0 {
				out = append(out, ':')
			}
			out = append(out, b...)
		}
	}
	return string(append(out, '}')), nil
}

// uuid returns the ID in the form that SNS has: version 8 of RFC 9562, which leaves it to
// us what the bits are. They are the ID's hash, so that they are the same each time.
func (m Message) uuid() string {
	h := sha256.Sum256([]byte(m.ID))
	h[6] = h[6]&0x0f | 0x80
	h[8] = h[8]&0x3f | 0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", h[0:4], h[4:6], h[6:8], h[8:10], h[10:16])
}
