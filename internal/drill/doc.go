// Package drill has a deployment on real servers change its primary, and checks that
// nobody's write is lost.
//
// A World is three Regions on this machine: a server, a node and an application in each,
// with proxies between them that are as slow as the way between Regions. Run hands the
// lease over as planned, and then takes the primary away in one way after another, while
// clients of the library write. Everything that was acknowledged is noted; the judgements
// are made of that alone, by functions without a clock.
package drill
