package objects

import (
	"context"
	"crypto/md5"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

// S3Options say where an S3-compatible store is.
type S3Options struct {
	Endpoint string // http or https URL, without a path
	Region   string
	Bucket   string // must be there
	Prefix   string // before every name, "" or ending in "/"
	// CredentialsFile is in the form of AWS's shared credentials file; "" takes
	// AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN from the
	// environment.
	CredentialsFile string
	CA              string // PEM file of the authorities to trust instead of the system's; "": the system's
	// Timeout is how long a request may go without an answer, and a transfer
	// without a byte. A put gets one second more for each MiB.
	Timeout time.Duration
	// Checksums says how the store is to check what it receives.
	Checksums Checksums
}

// Checksums are ways to have a store check what it receives. Whatever it does,
// what is fetched is compared with a digest of our own, see [Digested].
type Checksums string

// ChecksumMD5 is the Content-MD5 header, which every store that follows the
// protocol's first version knows. ChecksumCRC32C is a trailer of newer stores;
// older ones answer it with an error. ChecksumNone sends none.
const (
	ChecksumMD5    Checksums = "md5"
	ChecksumCRC32C Checksums = "crc32c"
	ChecksumNone   Checksums = "none"
)

// S3 keeps objects in a bucket of an S3-compatible store.
type S3 struct {
	client minio.Core
	opt    S3Options
	single int64 // singlePut
	gate
}

const (
	// attempts of a request, in all; what fails longer than that is reported and
	// tried again by whoever needs it.
	s3Attempts = 3
	// singlePut is what is put in one request: a put is then all or nothing, and
	// no parts are left behind.
	singlePut = 1 << 30
	// putPart is the size of the parts of what is larger. The client holds one in
	// memory; a store takes 10,000 of them.
	putPart = 32 << 20
)

// NewS3 prepares a store. Nothing is asked of it yet, so that a node starts
// while the store is down.
func NewS3(opt S3Options) (*S3, error) {
	u, err := url.Parse(opt.Endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || strings.Trim(u.Path, "/") != "" || u.User != nil {
		return nil, fmt.Errorf("%q is not a URL of the form https://HOST:PORT", opt.Endpoint)
	}
	transport, err := s3Transport(opt)
	if err != nil {
		return nil, err
	}
	creds := credentials.NewEnvAWS()
	if opt.CredentialsFile != "" {
		if _, err := os.Stat(opt.CredentialsFile); err != nil {
			return nil, err
		}
		creds = credentials.NewFileAWSCredentials(opt.CredentialsFile, "default")
	}
	// Signing with nothing would be refused with words that don't say so.
	v, err := creds.GetWithContext(nil)
	if err != nil {
		return nil, fmt.Errorf("credentials: %w", err)
	}
	if v.AccessKeyID == "" || v.SecretAccessKey == "" {
		where := "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY are not set, and no credentials file is configured"
		if opt.CredentialsFile != "" {
			where = opt.CredentialsFile + " has no aws_access_key_id and aws_secret_access_key under [default]"
		}
		return nil, errors.New("credentials: " + where)
	}
	client, err := minio.New(u.Host, &minio.Options{Creds: creds, Secure: u.Scheme == "https", Transport: transport, Region: opt.Region,
		MaxRetries: s3Attempts, TrailingHeaders: opt.Checksums == ChecksumCRC32C})
	if err != nil {
		return nil, err
	}
	return &S3{client: minio.Core{Client: client}, opt: opt, single: singlePut}, nil
}

func s3Transport(opt S3Options) (http.RoundTripper, error) {
	t := &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: min(opt.Timeout, 10*time.Second), KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:   min(opt.Timeout, 10*time.Second),
		ResponseHeaderTimeout: opt.Timeout,
		MaxIdleConns:          64,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       time.Minute,
		DisableCompression:    true, // objects are what they are
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
	}
	if opt.CA != "" {
		pem, err := os.ReadFile(opt.CA)
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !t.TLSClientConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate", opt.CA)
		}
	}
	return t, nil
}

// Name implements [Store].
func (s *S3) Name(parts ...string) string { return path.Join(parts...) }

// key is what the store knows an object by.
func (s *S3) key(name string) (string, error) {
	if err := checkParts(name); err != nil {
		return "", err
	}
	if err := s.pass(); err != nil {
		return "", err
	}
	return s.opt.Prefix + name, nil
}

// wrap says what kind an error is.
func (s *S3) wrap(what, name string, err error) error {
	if err == nil || errors.Is(err, context.Canceled) {
		return err
	}
	answer := minio.ToErrorResponse(err)
	if answer.Code == minio.NoSuchKey {
		return fmt.Errorf("%s %s: %w", what, name, fs.ErrNotExist)
	}
	if answer.StatusCode != 0 {
		err = fmt.Errorf("the store answers %d %s", answer.StatusCode, answer.Code)
	}
	return fmt.Errorf("%s %s: %w", what, name, unavailable(err))
}

// Put implements [Store].
func (s *S3) Put(ctx context.Context, name string, r io.ReadSeeker, size int64) error {
	key, err := s.key(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout+time.Duration(size>>20)*time.Second)
	defer cancel()
	opt := minio.PutObjectOptions{ContentType: "application/octet-stream", PartSize: singlePut, DisableContentSha256: true}
	body := &exactly{ReadSeeker: r, left: size}
	var info minio.UploadInfo
	if size <= s.single && s.opt.Checksums == ChecksumMD5 {
		// The client would read the whole object into memory for its digest.
		var sum string
		if sum, err = contentMD5(body, size); err != nil {
			return fmt.Errorf("put %s: %w", name, err) // of the file, not of the store
		}
		info, err = s.client.PutObject(ctx, s.opt.Bucket, key, body, size, sum, "", opt)
	} else {
		opt.SendContentMd5 = s.opt.Checksums == ChecksumMD5
		if size > s.single {
			opt.PartSize = putPart
		}
		info, err = s.client.Client.PutObject(ctx, s.opt.Bucket, key, body, size, opt)
	}
	if err == nil && info.Size != size {
		err = fmt.Errorf("%d bytes instead of %d were stored", info.Size, size)
	}
	return s.wrap("put", name, err)
}

// contentMD5 is the header's value for the next size bytes of r, which is then
// where it was.
func contentMD5(r io.ReadSeeker, size int64) (string, error) {
	h := md5.New()
	if _, err := io.CopyN(h, r, size); err != nil {
		return "", err
	}
	if _, err := r.Seek(-size, io.SeekCurrent); err != nil {
		return "", err
	}
	return base64.StdEncoding.EncodeToString(h.Sum(nil)), nil
}

// exactly is a body whose end is an error before its length is reached, and
// which the client cannot close.
type exactly struct {
	io.ReadSeeker
	left int64
}

func (e *exactly) Read(p []byte) (int, error) {
	n, err := e.ReadSeeker.Read(p)
	e.left -= int64(n)
	if errors.Is(err, io.EOF) && e.left > 0 {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (e *exactly) Seek(offset int64, whence int) (int64, error) {
	before, err := e.ReadSeeker.Seek(0, io.SeekCurrent)
	if err != nil {
		return before, err
	}
	after, err := e.ReadSeeker.Seek(offset, whence)
	e.left += before - after
	return after, err
}

// Open implements [Store].
func (s *S3) Open(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	key, err := s.key(name)
	if err != nil {
		return nil, err
	}
	var opt minio.GetObjectOptions
	if length == 0 {
		_, err := s.Stat(ctx, name)
		return io.NopCloser(strings.NewReader("")), err
	}
	if offset > 0 || length > 0 {
		end := int64(0) // to the end
		if length > 0 {
			end = offset + length - 1
		}
		if end == 0 && length > 0 { // the client takes 0 to 0 for everything
			opt.Set("Range", "bytes=0-0")
		} else if err := opt.SetRange(offset, end); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stall := time.AfterFunc((s3Attempts+1)*s.opt.Timeout, func() { cancel(errStalled) })
	body, _, _, err := s.client.GetObject(ctx, s.opt.Bucket, key, opt)
	if err != nil {
		stall.Stop()
		if errors.Is(context.Cause(ctx), errStalled) {
			err = errStalled
		}
		cancel(nil)
		if minio.ToErrorResponse(err).Code == "InvalidRange" { // it begins at or after the end
			return io.NopCloser(strings.NewReader("")), nil
		}
		return nil, s.wrap("get", name, err)
	}
	return &download{s: s, name: name, ctx: ctx, cancel: cancel, body: body, stall: stall}, nil
}

var errStalled = errors.New("no byte came within the time limit")

// download is the body of an answer; it ends when nothing comes any more.
type download struct {
	s      *S3
	name   string
	ctx    context.Context
	cancel context.CancelCauseFunc
	body   io.ReadCloser
	stall  *time.Timer
}

func (d *download) Read(p []byte) (int, error) {
	d.stall.Reset(d.s.opt.Timeout)
	n, err := d.body.Read(p)
	if err == nil || err == io.EOF {
		return n, err
	}
	if errors.Is(context.Cause(d.ctx), errStalled) {
		err = errStalled
	}
	return n, d.s.wrap("get", d.name, err)
}

func (d *download) Close() error {
	d.stall.Stop()
	d.cancel(nil)
	return d.body.Close()
}

// Stat implements [Store].
func (s *S3) Stat(ctx context.Context, name string) (Entry, error) {
	key, err := s.key(name)
	if err != nil {
		return Entry{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	info, err := s.client.StatObject(ctx, s.opt.Bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return Entry{}, s.wrap("stat", name, err)
	}
	return Entry{Name: name, Base: path.Base(name), Size: info.Size, Modified: info.LastModified}, nil
}

// Remove implements [Store].
func (s *S3) Remove(ctx context.Context, name string) error {
	key, err := s.key(name)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, s.opt.Timeout)
	defer cancel()
	err = s.wrap("remove", name, s.client.RemoveObject(ctx, s.opt.Bucket, key, minio.RemoveObjectOptions{}))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// List implements [Store].
func (s *S3) List(ctx context.Context, name string) iter.Seq2[Entry, error] {
	return func(yield func(Entry, error) bool) {
		key, err := s.key(name)
		if err != nil {
			yield(Entry{}, err)
			return
		}
		prefix := key + "/"
		// A server that falls silent between pages would be waited for for ever.
		ctx, cancel := context.WithCancelCause(ctx)
		defer cancel(nil)
		silence := (s3Attempts + 1) * s.opt.Timeout
		stall := time.AfterFunc(silence, func() { cancel(errStalled) })
		defer stall.Stop()
		for o := range s.client.ListObjectsIter(ctx, s.opt.Bucket, minio.ListObjectsOptions{Prefix: prefix}) {
			if o.Err != nil {
				if cause := context.Cause(ctx); errors.Is(cause, errStalled) {
					o.Err = cause
				}
				yield(Entry{}, s.wrap("list", name, o.Err))
				return
			}
			stall.Stop() // whoever takes the entries may take his time
			base := strings.Trim(strings.TrimPrefix(o.Key, prefix), "/")
			if base == "" {
				continue // a marker of the folder itself, as some tools leave
			}
			e := Entry{Name: name + "/" + base, Base: base, Folder: strings.HasSuffix(o.Key, "/"), Size: o.Size, Modified: o.LastModified}
			if !yield(e, nil) {
				return
			}
			stall.Reset(silence)
		}
	}
}
