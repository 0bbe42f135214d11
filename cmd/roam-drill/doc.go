// Command roam-drill has a deployment change its primary, and checks that nothing is lost.
package main
