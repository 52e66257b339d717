// Package queue measures what database and object store cost beside the
// analysis of a loop:
//
//	go test -run '^$' -bench . -benchtime 2000x ./conformance/bench/queue
//
// One operation is one loop of a study of 20: its object is recorded, it is
// leased, its result kept and recorded. cpu-ms/loop is the processor time of the
// node's side, server-ms/loop that of PostgreSQL, with what it does beside.
package queue

import (
	"context"
	"fmt"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/conformance/s3gateway"
	"github.com/echonode/echonode/pipeline/kept"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/store"
)

// processorTime is that of this process.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func BenchmarkLoop(b *testing.B) {
	b.Run("SQLite, directory", func(b *testing.B) {
		database := filepath.Join(b.TempDir(), "node.db")
		run(b, func() (*store.Store, error) { return store.Open(context.Background(), database) }, objects.NewDirectory(b.TempDir()))
	})
	for _, kind := range []string{"directory", "S3"} {
		b.Run("PostgreSQL, "+kind, func(b *testing.B) {
			server := postgres.Start(b)
			database := server.Create(b)
			var o objects.Store = objects.NewShared(b.TempDir())
			if kind == "S3" {
				b.Setenv("AWS_ACCESS_KEY_ID", s3gateway.AccessKey)
				b.Setenv("AWS_SECRET_ACCESS_KEY", s3gateway.SecretKey)
				s, err := objects.NewS3(objects.S3Options{Endpoint: s3gateway.Start(b).Endpoint, Region: "us-east-1", Bucket: s3gateway.Bucket,
					Timeout: time.Minute, Checksums: objects.ChecksumMD5})
				if err != nil {
					b.Fatal(err)
				}
				o = s
			}
			var before time.Duration
			run(b, func() (*store.Store, error) {
				st, err := store.OpenPostgreSQL(context.Background(), database, postgres.Password)
				before = server.ProcessorTime(b) // the schema is made
				return st, err
			}, o)
			b.ReportMetric(ms(server.ProcessorTime(b)-before)/float64(b.N), "server-ms/loop")
		})
	}
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

const loopsPerStudy = 20

func run(b *testing.B, open func() (*store.Store, error), o objects.Store) {
	ctx := context.Background()
	st, err := open()
	if err != nil {
		b.Fatal(err)
	}
	defer st.Close()
	if err := st.Enter(ctx, store.Process{ID: "bench"}); err != nil {
		b.Fatal(err)
	}
	files, err := objects.NewFiles(o, b.TempDir(), 1<<20)
	if err != nil {
		b.Fatal(err)
	}
	// A result of the usual size: 60 frames with an outline of 64 points.
	l := &result.Loop{View: "A4C"}
	for i := range 60 {
		f := result.Frame{Index: i}
		for k := range 64 {
			f.Contour = append(f.Contour, [2]float64{float64(k*i%97) / 7, float64(k*i%89) / 7})
		}
		l.FrameResults = append(l.FrameResults, f)
	}
	scratch := b.TempDir()
	enqueue := func(*store.Tx, string, int) error { return nil }
	b.ResetTimer()
	before := processorTime(b)
	for n := range b.N {
		study := fmt.Sprintf("1.2.%d", n/loopsPerStudy)
		sop := fmt.Sprintf("%s.%d", study, n)
		name := files.Name("results", study, "loops")
		if _, err := st.AddInstance(ctx, store.Instance{SOPInstanceUID: sop, SOPClassUID: "1.2.840.10008.5.1.4.1.1.3.1", StudyInstanceUID: study,
			SeriesInstanceUID: study + ".1", TransferSyntaxUID: "1.2.840.10008.1.2.4.50", Path: name, Received: time.Now(), Loop: true}); err != nil {
			b.Fatal(err)
		}
		lease, err := st.LeaseLoop(ctx, time.Now(), true, 1000)
		if err != nil {
			b.Fatal(err)
		}
		if err := kept.In(files, scratch, "results", study, "loops").Save(ctx, sop, l); err != nil {
			b.Fatal(err)
		}
		if err := st.FinishLoop(ctx, lease, "basis", sop, "", enqueue); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(ms(processorTime(b)-before)/float64(b.N), "cpu-ms/loop")
}
