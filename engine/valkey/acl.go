package valkey

import "strings"

// aclCommands are what the engine sends, and what its functions call: a server checks
// both against the user.
const aclCommands = "hello auth ping info config|get client|setname client|setinfo client|id client|tracking command cluster|slots cluster|shards cluster|info " +
	"readonly fcall fcall_ro function|load hgetall get xread scan " +
	"set exists time hget hmget hset hdel hlen del pexpireat xadd xrange xtrim xlen xinfo|stream memory|usage"

// ACL returns the rules of a user that may do what an Engine does and no more, to be
// put behind a user's name and password in ACL SETUSER or in an ACL file.
func ACL() string {
	var b strings.Builder
	for _, kind := range []byte{sessionKeys, userKeys, metaKeys, logKeys, cursorKeys, refillKeys, beatKeys} {
		b.WriteString("~" + string(kind) + "{* ")
	}
	for name := range strings.FieldsSeq(aclCommands) {
		b.WriteString("+" + name + " ")
	}
	return strings.TrimSpace(b.String())
}

// ACLOfNode returns the rules of a user that may do what a Chain and Chains do as well, to be used
// as those of ACL: a node's that steers its server's replication. It may make the server
// follow any other, which replaces all data, and end any connection: a server can't say
// of its users which. So it is for nodes, and applications have a user with ACL.
func ACLOfNode() string {
	keys := " ~" + overKey + " ~" + beatKey + " ~" + overKey + "{* ~" + beatKey + "{*"
	return ACL() + keys + " +replicaof +client|kill"
}
