// Package alarm evaluates metrics against thresholds as CloudWatch does.
//
// An alarm looks at the last N periods of one metric and goes to ALARM if M of their
// data points breach its threshold. What becomes of periods without data is the
// alarm's own choice; the rules, and both tables of examples that the tests hold, are
// those of "Configuring how CloudWatch alarms treat missing data" in the CloudWatch
// user guide, so that what an operator knows from there holds here.
//
// The package is pure: data and time come in as arguments. docs/judge.md tells what
// alarms are for.
package alarm
