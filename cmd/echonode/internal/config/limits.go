package config

import (
	"time"

	"github.com/dustin/go-humanize"
)

// day and year are for limits.
const (
	day  = 24 * time.Hour
	year = 365 * day
)

// limits refuses numbers that nobody means: a typing error would otherwise become
// a node that takes all memory, never waits, or waits for ever. What is missing or
// not positive is told elsewhere.
func (c *Config) limits(bad func(key, format string, args ...any)) {
	for _, n := range []struct {
		key   string
		value int64
		most  int64
	}{
		{"dicom.max_associations", int64(c.DICOM.MaxAssociations), 4096},
		{"dicom.max_associations_per_peer", int64(c.DICOM.MaxAssociationsPerPeer), 4096},
		{"dicom.max_associations_per_network", int64(c.DICOM.MaxAssociationsPerNetwork), 4096},
		{"analysis.workers", int64(c.Analysis.Workers), 1024},
		{"analysis.device", int64(c.Analysis.Device), 255},
		{"analysis.max_frames", int64(c.Analysis.MaxFrames), 1_000_000},
		{"analysis.max_pixels", c.Analysis.MaxPixels, 1_000_000_000_000},
		{"analysis.attempts", int64(c.Analysis.Attempts), 1000},
		{"delivery.attempts", int64(c.Delivery.Attempts), 32_767}, // a smallint of the queue
	} {
		if n.value > n.most {
			bad(n.key, "%d is more than can be meant: at most %d", n.value, n.most)
		}
	}
	for _, s := range []struct {
		key         string
		value       Size
		least, most Size
	}{
		{"dicom.max_object", c.DICOM.MaxObject, 64 << 10, 1 << 40},
		{"memory.budget", c.Memory.Budget, 0, 1 << 40},
	} {
		if s.value > 0 && s.value < s.least || s.value > s.most {
			bad(s.key, "%s is less or more than can be meant: %s to %s", humanize.IBytes(uint64(s.value)), humanize.IBytes(uint64(s.least)),
				humanize.IBytes(uint64(s.most)))
		}
	}
	durations := []struct {
		key         string
		value       Duration
		least, most time.Duration
	}{
		{"dicom.idle_timeout", c.DICOM.IdleTimeout, time.Second, day},
		{"storage.database_wait", c.Storage.DatabaseWait, time.Second, day},
		{"storage.retention", c.Storage.Retention, time.Second, 100 * year},
		{"storage.retention_failed", c.Storage.RetentionFailed, time.Second, 100 * year},
		{"storage.objects.s3.timeout", c.Storage.Objects.S3.Timeout, time.Second, day},
		{"study.idle", c.Study.Idle, 100 * time.Millisecond, 7 * day},
		{"study.cap", c.Study.Cap, 100 * time.Millisecond, 30 * day},
		{"analysis.start_limit", c.Analysis.StartLimit, time.Second, 7 * day},
		{"analysis.object_timeout", c.Analysis.ObjectTime, time.Second, 7 * day},
		{"analysis.timeout", c.Analysis.Timeout, time.Second, 7 * day},
		{"analysis.retry_for", c.Analysis.RetryFor, time.Second, year},
		{"delivery.retry_first", c.Delivery.RetryFirst, 100 * time.Millisecond, 7 * day},
		{"delivery.retry_max", c.Delivery.RetryMax, 100 * time.Millisecond, 7 * day},
		{"delivery.timeout", c.Delivery.Timeout, time.Second, day},
		{"review.session_idle", c.Review.SessionIdle, time.Second, 30 * day},
		{"review.session_max", c.Review.SessionMax, time.Second, 30 * day},
	}
	for _, d := range durations {
		if v := time.Duration(d.value); v > 0 && v < d.least || v > d.most {
			bad(d.key, "%v is less or more than can be meant: %v to %v", v, d.least, d.most)
		}
	}
	for _, d := range c.Destinations {
		if v := time.Duration(*d.AskWait); v > day {
			bad("destinations."+d.Name+".ask_wait", "%v is more than can be meant: at most %v", v, day)
		}
	}
}
