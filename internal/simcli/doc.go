// Package simcli is the command line of the simulation: roam-sim.
package simcli
