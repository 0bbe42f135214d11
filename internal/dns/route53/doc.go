// Package route53 keeps one name of a zone at Route 53 as it is to be.
//
// A name is a simple CNAME, or a pair of failover records whose health checks follow the
// metric IsGlobalPrimary or a routing control. What is to be changed is decided by Plan, which
// knows no network: what there is and what is wanted go in, one batch of changes comes out.
// Route 53 takes a batch whole or not at all, so a name passes from one form to the other
// without a moment in which it leads nowhere.
//
// There are two ways to keep a name. Publish is for the control plane: as at a server of
// RFC 2136, a text record beside the name says of which epoch it is, it is a part of every
// batch, and what is older never replaces what is newer. Settle is for a reconciler that has
// no epochs and looks at who is the primary: it asks once more before each batch, and keeps
// away from a name that has such a text.
//
// A record of another name is never touched, and neither is what others made of the name.
package route53
