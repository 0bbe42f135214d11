// Command sheet makes the table and the page of what benchmarks measured.
package main
