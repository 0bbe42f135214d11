module github.com/roam-sessions/roam

go 1.26
