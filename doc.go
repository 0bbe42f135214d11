// Package roam keeps users logged in wherever they turn up.
//
// A Store reads and writes sessions for one Region of several; Open makes it
// from engines that are already open. A Manager is the net/http middleware: it
// loads the session that a request's cookies prove, hands it to the handler by
// FromContext, and commits what changed before the first byte goes out.
//
//	store, err := roam.Open(ctx, roam.Config{Here: roam.Region{ID: 1, Name: "here", Engine: e}})
//	sessions, err := roam.NewManager(store, key, roam.Options{})
//	http.ListenAndServe("localhost:8080", sessions.Wrap(mux))
//
// What is guaranteed, and what not, stands in docs/guarantees.md. In one line:
// a session that was destroyed stays destroyed in every Region, an error is
// never a missing session, and every answer names its rung.
package roam
