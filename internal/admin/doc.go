// Package admin serves the HTTP API by which people and programs look at a deployment and change it.
//
// It is JSON under /v1, described by the document at /v1/openapi.json. Errors are problems
// by RFC 9457, each with what to do next. Who asks shows a token, which makes a viewer or
// an operator, or a certificate of a member or a person. Client is the other end.
package admin
