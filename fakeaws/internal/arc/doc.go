// Package arc is a fake of the routing controls of Application Recovery Controller.
//
// A cluster has five endpoints, which are taken down in turn if one wants that. Updates are
// atomic, and safety rules refuse those that would leave too little on, or too much.
package arc
