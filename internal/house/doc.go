// Package house holds the rules of this repository as tests over its source.
//
// It has no code of its own: everything is in its tests. They read every Go file
// of the module once, and each rule returns what it found. The rules bear the
// numbers that CONTRIBUTING.md lists. Four texts beside the tests are data for
// them, and changing one is a decision that a reviewer sees:
//
//   - arrows.txt draws which room may import which,
//   - pure.txt names what must stay free of clocks, dice, sockets and goroutines,
//   - api.txt holds what the public packages promise,
//   - debts.txt excuses what breaks a rule today, with a reason.
//
// Each rule is itself tested on a small text under testdata that holds one tree
// it must accept and one it must report.
package house
