// Command pack makes the archive of a Lambda function from its bootstrap.
package main
