package dns

import (
	"sync/atomic"

	wire "github.com/miekg/dns"
)

// Stats are what a Server has done since it started, for metrics.
type Stats struct {
	UDP, TCP uint64 // requests read
	Ignored  uint64 // that were no requests, and were not answered
	// Answers by their code.
	Success, FormatError, ServerFailure, NameError, NotImplemented, Refused, Other uint64

	Truncated        uint64 // answers that said to come again by TCP, for their length
	Dropped, Slipped uint64 // requests beyond the rate: not answered; told to come by TCP
	Unsent           uint64 // answers that could not be written
	ConnsRefused     uint64 // connections beyond the bound
	BadSignatures    uint64
	Transfers        uint64 // of the whole zone
	TransfersRefused uint64 // not allowed, or too many at a time

	Updates        uint64 // that changed the zone
	UpdatesSame    uint64 // that did not
	UpdatesRefused uint64 // stale or wrong

	Notified     uint64 // times that a secondary said it knows of a change
	NotifyFailed uint64 // tries to tell one
	NotifyGaveUp uint64 // changes that one was not told of, after all tries

	// Serial and Epoch are of what is answered now; zero before the first Update.
	Serial uint32
	Epoch  uint64
}

type stats struct {
	udp, tcp, ignored                                                              atomic.Uint64
	success, formatError, serverFailure, nameError, notImplemented, refused, other atomic.Uint64
	truncated, dropped, slipped, unsent, connsRefused, badSignatures               atomic.Uint64
	transfers, transfersRefused                                                    atomic.Uint64
	updates, updatesSame, updatesRefused                                           atomic.Uint64
	notified, notifyFailed, notifyGaveUp                                           atomic.Uint64
}

// answered counts an answer.
func (s *stats) answered(rcode int) {
	switch rcode {
	case wire.RcodeSuccess:
		s.success.Add(1)
	case wire.RcodeFormatError:
		s.formatError.Add(1)
	case wire.RcodeServerFailure:
		s.serverFailure.Add(1)
	case wire.RcodeNameError:
		s.nameError.Add(1)
	case wire.RcodeNotImplemented:
		s.notImplemented.Add(1)
	case wire.RcodeRefused:
		s.refused.Add(1)
	default:
		s.other.Add(1)
	}
}

// Stats returns what the server has done. Its figures are not of one moment.
func (s *Server) Stats() Stats {
	c := &s.stats
	out := Stats{
		UDP: c.udp.Load(), TCP: c.tcp.Load(), Ignored: c.ignored.Load(),
		Success: c.success.Load(), FormatError: c.formatError.Load(), ServerFailure: c.serverFailure.Load(),
		NameError: c.nameError.Load(), NotImplemented: c.notImplemented.Load(), Refused: c.refused.Load(), Other: c.other.Load(),
		Truncated: c.truncated.Load(), Dropped: c.dropped.Load(), Slipped: c.slipped.Load(), Unsent: c.unsent.Load(),
		ConnsRefused: c.connsRefused.Load(), BadSignatures: c.badSignatures.Load(),
		Transfers: c.transfers.Load(), TransfersRefused: c.transfersRefused.Load(),
		Updates: c.updates.Load(), UpdatesSame: c.updatesSame.Load(), UpdatesRefused: c.updatesRefused.Load(),
		Notified: c.notified.Load(), NotifyFailed: c.notifyFailed.Load(), NotifyGaveUp: c.notifyGaveUp.Load(),
	}
	if z := s.zone.Load(); z != nil {
		out.Serial, out.Epoch = z.Serial, z.Epoch
	}
	return out
}
