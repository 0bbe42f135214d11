// Package enginetest checks that an engine keeps the promises of package engine.
//
// Whatever claims to be an engine runs it, a wrapper included:
//
//	func TestPromises(t *testing.T) {
//		enginetest.Run(t, func(t *testing.T, here crdt.Region) engine.Engine {
//			…
//		}, enginetest.Options{})
//	}
//
// Powers that the engine has, by engine.As, are checked too. A bug that two
// engines could have becomes a case here.
package enginetest
