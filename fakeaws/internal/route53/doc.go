// Package route53 is a fake of Route 53: private zones, health checks, and a name server.
//
// A change is PENDING, and the name server does not know of it, until its time has come.
// Until then the zone takes no other change. Failover records are answered by the health of
// alarms, of routing controls and of endpoints, and go on when the API is away.
//
// Messages of DNS are taken apart and put together by github.com/miekg/dns; no type of it is
// in what this package exports.
package route53
