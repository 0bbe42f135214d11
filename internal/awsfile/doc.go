// Package awsfile reads aws.yaml, which says what somebody wants on AWS, and finds all its faults at once.
package awsfile
