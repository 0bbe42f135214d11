package admin

import _ "embed"

//go:embed openapi.json
var openapi []byte

// OpenAPI returns the document that describes the API, of version 3.1.
func OpenAPI() []byte { return append([]byte(nil), openapi...) }
