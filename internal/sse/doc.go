// Package sse writes server-sent events, as HTML has them, to a reader who may be slow or
// gone.
package sse
