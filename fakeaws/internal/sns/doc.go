// Package sns is a fake of SNS: topics, subscriptions, and deliveries that are tried again.
//
// As SNS itself may, it delivers out of order and more than once; Mail says how often. It
// does not sign messages, and says so: Signature is empty.
package sns
