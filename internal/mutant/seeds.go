package mutant

import (
	"fmt"
	"strings"
)

// firstSeeds are the first seeds of the simulator that find each mutant.
const firstSeeds = `
acknowledged-early 1
acknowledged-unheld 1
actor-kept 122
addition-counted-twice 24
addition-elsewhere 24
addition-not-known-again 7
adopts-any-login 114
adopts-for-ever 35
adopts-nothing 11
adopts-on-strict-routes 116
age-not-looked-at 34
also-not-asked 864
any-secret 1
begin-without-mark 3
birth-not-known-again 3
born-by-arrival 75
counter-in-one-cell 22
credential-always 1
cursor-first 38
dead-loses 1
deadline-not-read 7
deletion-forgotten 1
demotion-unnoticed 1025
digest-by-stamp 4
digest-by-vector 4
dot-below-record 4
doubt-is-certainty 7
end-not-final 116
ending-dropped-early 84
endings-not-brought 46
endings-not-told 31
endings-refused-when-full 5
endings-wait 3
epoch-not-looked-at 6
epoch-of-the-region 1
epochs-at-insert 1
epochs-by-clock 2
epochs-forgotten 2
error-confirms-ending 127
error-is-a-miss 16
evicted-when-full 5
failed-while-draining 648
field-by-arrival 3
floor-ignored 7
follow-before-salvage 1
fork-passed-over 2
fresh-by-highest-stamp 1
generation-of-the-copy 138
goes-on-when-over 46
grace-at-login 1
grace-for-ever 1
grant-before-expiry 3
grant-to-another-run 127
hole-not-reported 4
journal-lost-at-restart 866
journal-not-read 38
kept-when-idle 1
leader-forgets-renewals 21
leader-grants-at-once 102
lease-by-wall-clock 8
lease-inherited 88
login-without-generation 7
loss-without-receipt 3
mark-before-end 3
marks-after-loss 112
miss-believed 1
no-chain 1
no-comparing 7
no-gap 1
no-guard 92
no-receipt 1
no-receipt-of-target 488
not-redelivered 1
not-refilled 4
not-salvaged-at-home 3
older-data-unnoticed 32
one-word-is-enough 75
owner-not-known 14
pull-off 1
refused-is-cleared 1
release-before-end 12
renewed-when-deposed 111
restart-not-noticed 150
rotation-like-login 8
sealed-all-cleared 113
sealed-dot-in-token 5
sealed-not-taken-in 257
sealed-over-dead 29
sealed-stamped-anew 32
session-not-brought 1
shown-when-expired 1
side-store-forgets-at-once 162
side-store-joined-silently 5
side-store-not-given 7
side-store-not-missed 1017
side-store-not-read 91
spool-is-all 33
stable-at-once 1
stable-when-sent 117
stale-copy-refuses 11
stale-not-said 4
stamp-a-try 1
strict-takes-sealed 5
target-stays-armed 131
ties-by-arrival 7
token-forgotten 1
token-not-looked-at 2
token-without-epochs 43
tombstone-dropped 1
touch-by-arrival 92
touch-ignored 1
two-users-live 19
vector-unjoined 7
wall-clock 1
words-bind-nobody 251
words-forgotten 278
`

// seeds returns them by mutant.
func seeds() map[string]uint64 {
	out := map[string]uint64{}
	for line := range strings.Lines(firstSeeds) {
		var name string
		var seed uint64
		if n, _ := fmt.Sscan(line, &name, &seed); n == 2 {
			out[name] = seed
		}
	}
	return out
}
