package config

import (
	"net/url"
	"slices"
	"strings"

	"github.com/echonode/echonode/pipeline/objects"
)

// check finds what is wrong with the settings of the object store.
func (o Objects) check(bad func(key, format string, args ...any)) {
	if !slices.Contains([]string{KindDirectory, KindShared, KindS3}, o.Kind) {
		bad("storage.objects.kind", "%q is not one of directory, shared, s3", o.Kind)
	}
	if (o.Kind == KindShared) != (o.Shared != "") {
		bad("storage.objects.shared", "goes with kind: shared")
	}
	s := o.S3
	if o.Kind != KindS3 {
		if s.Endpoint != "" || s.Bucket != "" || s.CredentialsFile != "" {
			bad("storage.objects.s3", "goes with kind: s3")
		}
		return
	}
	if u, err := url.Parse(s.Endpoint); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" ||
		strings.Trim(u.Path, "/") != "" || u.User != nil {
		bad("storage.objects.s3.endpoint", "is not of the form https://HOST:PORT")
	}
	if s.Bucket == "" {
		bad("storage.objects.s3.bucket", "must be set")
	}
	if s.Region == "" {
		bad("storage.objects.s3.region", "must be set; us-east-1 does for stores that have none")
	}
	if s.Prefix != "" && (!strings.HasSuffix(s.Prefix, "/") || strings.HasPrefix(s.Prefix, "/") || strings.Contains(s.Prefix, "//") ||
		strings.Contains(s.Prefix, "..")) {
		bad("storage.objects.s3.prefix", "%q is neither empty nor of the form NAME/", s.Prefix)
	}
	if !slices.Contains([]objects.Checksums{objects.ChecksumMD5, objects.ChecksumCRC32C, objects.ChecksumNone}, objects.Checksums(s.Checksums)) {
		bad("storage.objects.s3.checksums", "%q is not one of md5, crc32c, none", s.Checksums)
	}
	if s.Timeout <= 0 {
		bad("storage.objects.s3.timeout", "must be greater than zero")
	}
}
