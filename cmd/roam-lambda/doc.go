// Command roam-lambda is the bootstrap of Roam's Lambda functions.
package main
