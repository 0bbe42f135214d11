// Package door lets signed requests in to the fakes, and says in AWS's words why not.
//
// A Door serves one endpoint. It checks the signature and its scope, what rules say of
// outages and throttles, and the caller's policy; then it calls the service, and writes what
// comes back in the protocol that was spoken: query, REST-XML, JSON, REST-JSON or CBOR.
package door
