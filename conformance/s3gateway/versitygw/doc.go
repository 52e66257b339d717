// Package versitygw pins the S3 server that the tests use, as a tool of a module
// of its own, so that what it depends on stays out of the shipped one.
package versitygw
