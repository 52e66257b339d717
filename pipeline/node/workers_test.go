package node

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/pipeline/objects"
	"github.com/echonode/echonode/pipeline/result"
	"github.com/echonode/echonode/pipeline/spool"
	"github.com/echonode/echonode/pipeline/store"
)

// standIn is an analysis that takes a second and no processor.
type standIn struct{ *fakeProcessor }

func (standIn) Loops() int { return 1 }

func (standIn) Look(ctx context.Context, req LoopRequest) (Seen, error) {
	select {
	case <-time.After(time.Second):
	case <-ctx.Done():
		return Seen{}, ctx.Err()
	}
	return Seen{Key: req.SOPInstanceUID}, req.Kept.Save(ctx, req.SOPInstanceUID, &result.Loop{SOPInstanceUID: req.SOPInstanceUID})
}

// BenchmarkWorkers has workers on one PostgreSQL and one shared folder analyse
// the loops of one sender, 20 for each worker, with a stand-in of fixed latency:
//
//	go test -run '^$' -bench Workers -benchtime 1x ./pipeline/node
//
// loops/s of 16 beside those of one says how much of the work the queue lets
// them do at the same time.
func BenchmarkWorkers(b *testing.B) {
	const each = 20
	for _, workers := range []int{1, 2, 16} {
		b.Run(fmt.Sprint(workers), func(b *testing.B) {
			server := postgres.Start(b)
			database, shared := server.Create(b), objects.NewShared(b.TempDir())
			open := func() *store.Store {
				st, err := store.OpenPostgreSQL(b.Context(), database, postgres.Password)
				if err != nil {
					b.Fatal(err)
				}
				b.Cleanup(func() { st.Close() })
				return st
			}
			st := open()
			for i := range each * workers {
				study := fmt.Sprintf("1.2.%d", i/each)
				if _, err := st.AddInstance(b.Context(), store.Instance{SOPInstanceUID: fmt.Sprintf("%s.%d", study, i), StudyInstanceUID: study,
					SeriesInstanceUID: study + ".0", SOPClassUID: "1.2", Path: fmt.Sprint(i), Sender: "cart", Received: time.Now(), Loop: true}); err != nil {
					b.Fatal(err)
				}
			}
			ctx, stop := context.WithCancel(b.Context())
			ended := make(chan error, workers)
			var nodes []*Node
			for i := range workers {
				dir := b.TempDir()
				files, err := objects.NewFiles(shared, filepath.Join(dir, "cache"), 1<<20)
				if err != nil {
					b.Fatal(err)
				}
				in, err := spool.OpenRelay(filepath.Join(dir, "arriving"), files, spool.Options{MinFree: -1})
				if err != nil {
					b.Fatal(err)
				}
				n, err := New(ctx, Options{Objects: files, Scratch: dir, Roles: []string{RoleAnalyse}, OnArrival: true, Idle: time.Hour, Cap: 2 * time.Hour,
					Attempts: 2, Deliveries: 2, Timeout: time.Minute, Seat: fmt.Sprint(i)}, in, open(), standIn{&fakeProcessor{}}, nil,
					slog.New(slog.NewTextHandler(io.Discard, nil)))
				if err != nil {
					b.Fatal(err)
				}
				nodes = append(nodes, n)
			}
			b.ResetTimer()
			start := time.Now()
			for _, n := range nodes {
				go func() { ended <- n.Run(ctx) }()
			}
			for left := each * workers; left > 0; time.Sleep(50 * time.Millisecond) {
				left = each * workers
				for study := range workers {
					done, _, err := st.LoopsDone(ctx, fmt.Sprintf("1.2.%d", study))
					if err != nil {
						b.Fatal(err)
					}
					left -= done
				}
			}
			b.ReportMetric(float64(each*workers)/time.Since(start).Seconds(), "loops/s")
			b.StopTimer()
			stop()
			for range workers {
				<-ended
			}
		})
	}
}
