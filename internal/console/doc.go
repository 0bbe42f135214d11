// Package console serves the web page on which a deployment is watched and broken.
//
// It knows nothing of engines and links: all it shows and does goes through
// Source, which the lab implements. The page is plain static files; it reads a
// JSON API and server-sent events, whose names are a format of ours and stand
// in docs/formats/console.md.
//
// Whoever reaches the console may kill Regions, so it answers only to names of
// the loopback interface, and only to pages that it served itself.
package console
