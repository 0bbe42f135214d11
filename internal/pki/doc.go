// Package pki lets nodes prove to each other which Region they are.
//
// A deployment has an authority of its own, and each Region a certificate by it
// that names the Region in a URI. Who has the certificate of one Region can't pass
// for another. People have certificates too, with URIs of another form: they ask the
// admin API with them, and pass for no Region. Nothing of the system's or the web's
// authorities is trusted.
package pki
