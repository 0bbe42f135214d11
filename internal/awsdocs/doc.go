// Package awsdocs reads the commands that pages of docs/aws have a reader type, so that a test can
// type them.
//
// A command stands in a fenced block whose first line says so: "```sh run NAME" is to be run, and
// "```sh check NAME" to be understood by the AWS CLI and no more, as nobody imitates the service.
// A block of text right behind it is what it is to print; "…" in it is anything. All other blocks
// are for people.
package awsdocs
