// Package netdicom tests scp against github.com/grailbio/go-netdicom, an
// archived Go implementation of DICOM networking. It is a module of its own so
// that go-netdicom and its dependencies stay out of the shipped module.
package netdicom
