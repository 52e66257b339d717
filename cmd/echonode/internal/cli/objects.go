package cli

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/pipeline/node"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/spool"
)

// objectStore is the store that a configuration names. Nothing is asked of it
// yet.
func objectStore(c *config.Config) (objects.Store, error) {
	o := c.Storage.Objects
	switch o.Kind {
	case config.KindShared:
		return objects.NewShared(o.Shared), nil
	case config.KindS3:
		s, err := objects.NewS3(objects.S3Options{Endpoint: o.S3.Endpoint, Region: o.S3.Region, Bucket: o.S3.Bucket, Prefix: o.S3.Prefix,
			CredentialsFile: o.S3.CredentialsFile, CA: o.S3.CA, Timeout: time.Duration(o.S3.Timeout), Checksums: objects.Checksums(o.S3.Checksums)})
		if err != nil {
			return nil, usageError{fmt.Errorf("storage.objects.s3: %w", err)}
		}
		return s, nil
	}
	return objects.NewDirectory(c.Storage.Directory), nil
}

// openFiles gives files for the objects of the configured store.
func openFiles(c *config.Config) (*objects.Files, error) {
	s, err := objectStore(c)
	if err != nil {
		return nil, err
	}
	f, err := objects.NewFiles(s, filepath.Join(c.Storage.Directory, "cache"), int64(c.Storage.Objects.Cache))
	if err != nil {
		return nil, fmt.Errorf("storage.objects: %w", err)
	}
	return f, nil
}

// openIntake is where received objects become durable; close ends it.
func openIntake(c *config.Config, files *objects.Files, log *slog.Logger) (in spool.Intake, closeIntake func() error, err error) {
	opt := spool.Options{MinFree: int64(c.Storage.MinFree), Logger: log}
	if c.Storage.Objects.Kind == config.KindDirectory {
		s, err := spool.Open(filepath.Join(c.Storage.Directory, node.SpoolFolder), opt)
		if err != nil {
			return nil, nil, err
		}
		return s, s.Close, nil
	}
	r, err := spool.OpenRelay(filepath.Join(c.Storage.Directory, "arriving"), files, opt)
	if err != nil {
		return nil, nil, err
	}
	return r, r.Close, nil
}
