package topology

import "strings"

// maxTargets: an endpoint in each Region, and what all end with.
const maxTargets = 32

// targets are names that the address of a server may be an alias of. A dot in front says that
// names end so.
func (c cursor) targets(name cursor) (out []string) {
	if c.there() && name.there() {
		c.fault("keep one of them", "there is one name for all certificates, and targets too")
	}
	for _, item := range c.items(maxTargets) {
		s := item.text()
		bare := strings.TrimPrefix(s, ".")
		switch {
		case s == "":
		case !strings.Contains(bare, ".") || checkDomain(strings.ToLower(bare)) != nil:
			item.fault("write a whole name, or a dot and what names end with, such as .cache.amazonaws.com", "%q is neither", printable(s))
		default:
			out = append(out, strings.ToLower(s))
		}
	}
	return out
}
