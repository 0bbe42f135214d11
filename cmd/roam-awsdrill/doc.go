// Command roam-awsdrill moves the primary of a Global Datastore on fakes of AWS, and tells how long each stage takes.
package main
