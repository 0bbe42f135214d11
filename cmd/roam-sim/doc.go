// Command roam-sim simulates deployments of Roam and checks that sessions survive.
package main
