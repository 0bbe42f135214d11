// Package controlsim runs the control plane in virtual time among faults and checks that
// it keeps what it promises.
//
// What runs is the code itself: ledger.State, steer.Local, steer.Chief, lease.Voter and the
// judge. What is modelled is all around it: the quorum's log, links, nodes, servers that
// replicate each other and look at a lease, clients that write, operators. Each seed is one
// run in one goroutine. It checks, whenever something happens, that one server at most takes
// writes (I9), that epochs only grow and what is written under an old one is refused (I10),
// that a planned switchover loses nothing (I11), that a receipt lists what a failover has
// cost and that nothing is missing once the old server is back (I12), that nobody throws
// away the only copy of a write, and at the end that somebody writes, all servers follow and
// all receipts are closed.
//
// A shell around the same code, as internal/control is, must do what is modelled here:
//
//   - A Chief is made after all that was agreed before the election is applied, and dropped
//     when another member leads. Chief.Renewed is told when a renewal, a grant or a step of
//     a switchover is applied, and when a snapshot replaces the state.
//   - Local.Agreed is told of every state in its order, before whoever proposed a command
//     is told that it is agreed.
//   - A member that starts anew has the state it had applied and what its voter consented
//     to, and no more. The consent is on its disk before the answer leaves.
//   - A word is given by what is agreed as far as the member knows: State.Next.
//   - A grant goes by the clock that its own try has read. The server looks at its
//     replication ID too, so that one which started anew, or was promoted, since refuses it.
//   - End is final, and may be repeated. Mark is written behind all writes of the epoch, and
//     then the server takes no writes until it follows.
//   - Promote fails while the server is being given all data. Follow keeps what the server
//     has until the other one gives it data.
//   - What steers a server is sent in one order, and a Follow that is not wanted any more when
//     its turn comes, since the lease is to be held here by now, is not sent: it would have
//     the server throw away what it took under that lease.
//   - A server that can't be asked is not known; its last heartbeat and mark are kept.
//   - Salvage adopts at the holder's server, under its lease, what the old server and the
//     spool have and it lacks. The holder may be the same Region. It closes the receipt when
//     the old server itself was looked at, as it is now, and another Region's server has all
//     of it, if there is one that owes no receipt itself: those wait for each other else. If
//     the server's disk was lost the receipt says unknown. Then what was looked at is cleared
//     from the spool, but not at home, where the spool has what the server takes now, too.
//   - Whoever was granted the lease after another one says where the logs of the two parted.
//   - What is asked of a server may be done after whoever asked has given up.
//
// What is left out: a server that takes writes, loses its disk and starts by itself as if
// nothing had happened, which its followers would copy (docs/control.md), and the words of
// members on the wire.
package controlsim
