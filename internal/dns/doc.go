// Package dns answers for a deployment's private zone, and keeps a foreign one equal to it.
//
// A View says what is known of the deployment: its Regions, who takes writes, what is
// healthy. A Zone is made of it, without a clock or a socket: the same View makes the same
// answers everywhere. A Server answers from the Zone it was last given, from memory alone, so
// it goes on when whoever gave it is gone; it knows no other zone and asks nobody. A Publisher
// writes where the writer is into a server of somebody else, by RFC 2136.
//
// A View and a publication carry the epoch of the lease. Neither a Server nor a name that was
// published ever goes back to a lower one, whatever comes late or twice.
//
// DNS moves new connections only. What holds old ones is told directly.
//
// Messages are taken apart and put together by github.com/miekg/dns, here called wire; no
// type of it is in what this package exports.
package dns
