// Package mototest starts moto, a fake of AWS that others wrote, for tests.
package mototest
