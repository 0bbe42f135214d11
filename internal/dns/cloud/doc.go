// Package cloud opens what AWS keeps of the writer, as roam.yaml describes it.
//
// It reads AWS's configuration and credentials as its SDK does, and makes what the rooms of dns
// ask with. Nothing is tried again by the SDK: who asks knows what may be asked twice.
package cloud
