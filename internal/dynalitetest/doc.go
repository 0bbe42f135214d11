// Package dynalitetest starts servers for tests that speak DynamoDB's protocol.
package dynalitetest
