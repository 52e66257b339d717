package objects

import (
	"context"
	"crypto/md5"
	"encoding/base64"
	"fmt"
	"hash"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

// md5Only is a store of the protocol's first version: it takes what has the
// Content-MD5 that it says, refuses trailers, and keeps nothing but digests.
type md5Only struct {
	t     *testing.T
	all   hash.Hash
	sizes []int64
	begun bool // of an upload in parts
}

func (s *md5Only) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPut:
		sum := md5.New()
		n, err := io.Copy(io.MultiWriter(sum, s.all), r.Body)
		if err != nil || n != r.ContentLength {
			s.t.Errorf("%d bytes of %d, %v", n, r.ContentLength, err)
		}
		if got, want := r.Header.Get("Content-Md5"), base64.StdEncoding.EncodeToString(sum.Sum(nil)); got != want {
			s.t.Errorf("Content-MD5 %q of bytes with %q", got, want)
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.sizes = append(s.sizes, n)
		w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sum.Sum(nil)))
	case r.Method == http.MethodPost && r.URL.Query().Has("uploads"):
		s.begun = true
		fmt.Fprint(w, `<InitiateMultipartUploadResult><UploadId>1</UploadId></InitiateMultipartUploadResult>`)
	case r.Method == http.MethodPost:
		fmt.Fprint(w, `<CompleteMultipartUploadResult><Bucket>bucket</Bucket><Key>object</Key><ETag>"x"</ETag></CompleteMultipartUploadResult>`)
	default:
		s.t.Errorf("%s %s", r.Method, r.URL)
	}
}

// What is put with its MD5 is not held in memory, whatever its size: a node
// receives from many senders at a time.
func TestPutMemory(t *testing.T) {
	t.Setenv("AWS_ACCESS_KEY_ID", "a")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "b")
	const size = 96<<20 + 5
	path := filepath.Join(t.TempDir(), "object")
	want := md5.New()
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	chunk := make([]byte, 1<<20)
	for i := range chunk {
		chunk[i] = byte(i * 31)
	}
	for left := size; left > 0; left -= len(chunk) {
		chunk[0]++
		if _, err := io.MultiWriter(file, want).Write(chunk[:min(left, len(chunk))]); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		name   string
		single int64
		parts  int
		limit  uint64
	}{
		{"in one request", singlePut, 1, 8 << 20},
		{"in parts", 64 << 20, 4, putPart + 8<<20},
	} {
		t.Run(c.name, func(t *testing.T) {
			server := &md5Only{t: t, all: md5.New()}
			h := httptest.NewServer(server)
			defer h.Close()
			s, err := NewS3(S3Options{Endpoint: h.URL, Region: "us-east-1", Bucket: "bucket", Timeout: time.Minute, Checksums: ChecksumMD5})
			if err != nil {
				t.Fatal(err)
			}
			s.single = c.single
			if _, err := file.Seek(0, io.SeekStart); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			if err := s.Put(context.Background(), "object", file, size); err != nil {
				t.Fatal(err)
			}
			runtime.ReadMemStats(&after)
			if got := after.TotalAlloc - before.TotalAlloc; got > c.limit {
				t.Errorf("%d bytes were allocated for an object of %d", got, size)
			}
			if string(server.all.Sum(nil)) != string(want.Sum(nil)) || len(server.sizes) != c.parts || server.begun != (c.parts > 1) {
				t.Errorf("the store got %v bytes, parts %t, with another digest", server.sizes, server.begun)
			}
		})
	}
	// A file that is shorter than it should be is an error, and none of the store's.
	s, err := NewS3(S3Options{Endpoint: "http://127.0.0.1:1", Region: "us-east-1", Bucket: "bucket", Timeout: time.Minute, Checksums: ChecksumMD5})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := s.Put(context.Background(), "object", file, size+1); err == nil {
		t.Error("a file that ends too early was put")
	}
}
