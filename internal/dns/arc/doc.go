// Package arc turns the routing control of one Region on and those of all others off.
//
// A cluster of ARC has five endpoints in five Regions, which are taken down in turn, on purpose;
// three of them are always there. So a call begins at any of them and goes on to the next. None
// of this asks the control plane of ARC, which lives in one Region: endpoints and controls are
// configuration.
package arc
