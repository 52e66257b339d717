// Package interop holds tests of scp and pipeline/spool with the DICOM programs
// of others: DCMTK, Orthanc, pynetdicom, dicom-rs. Each test skips, and says
// why, where the program is not installed. go-netdicom has a module of its own
// beside this folder, so that its dependencies stay out of the shipped module.
//
// The crash tests here kill receiver, a small program of scp and spool.
package interop
