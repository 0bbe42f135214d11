// Package valkeytest starts real Valkey servers for tests.
package valkeytest
