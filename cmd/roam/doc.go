// Command roam runs the demo, its shop and its tour.
package main
