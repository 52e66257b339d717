package workers

import (
	"bytes"
	"context"
	"fmt"
	"image"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/echonode/echonode/conformance/freeport"
	"github.com/echonode/echonode/conformance/postgres"
	"github.com/echonode/echonode/dicomio"
	"github.com/echonode/echonode/dicomio/tag"
	"github.com/echonode/echonode/scp"
)

const (
	loopsOfStudy = 20
	onTheirWay   = 8 // studies that have been sent and are not delivered
	blocks       = 10
)

// BenchmarkStudies sends studies of small loops through the built program, which
// receives, analyses with the stand-in as its engine, delivers and removes them,
// and says for each tenth of them what a study cost, and how large the database
// and the process were. Overlays are left out, which cost more than all the rest
// and know nothing of how many studies there were. ECHONODE_STUDIES says how many (default 200; 10,000 are
// meant). Studies are removed 30 s after they were last touched, whatever became
// of them.
//
//	ECHONODE_STUDIES=10000 go test -run '^$' -bench Studies -benchtime 1x -timeout 24h -v ./conformance/bench/workers
func BenchmarkStudies(b *testing.B) {
	studies := 200
	if s := os.Getenv("ECHONODE_STUDIES"); s != "" {
		var err error
		if studies, err = strconv.Atoi(s); err != nil || studies < blocks {
			b.Fatalf("ECHONODE_STUDIES: at least %d", blocks)
		}
	}
	b.Run("SQLite", func(b *testing.B) { manyStudies(b, studies, nil) })
	b.Run("PostgreSQL", func(b *testing.B) { manyStudies(b, studies, postgres.Start(b)) })
}

// sink is an archive that counts reports and keeps nothing.
type sink struct {
	mu      sync.Mutex
	reports map[string]int // by study
	arrived chan struct{}
}

func (s *sink) Store(_ context.Context, req *scp.StoreRequest, r io.Reader) error {
	b, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	id, err := dicomio.Identify(context.Background(), bytes.NewReader(b), int64(len(b)), dicomio.Options{TransferSyntax: req.TransferSyntaxUID})
	if err != nil {
		return err
	}
	if id.Modality == "SR" {
		s.mu.Lock()
		s.reports[id.StudyInstanceUID]++
		s.mu.Unlock()
		s.arrived <- struct{}{}
	}
	return nil
}

func manyStudies(b *testing.B, studies int, server *postgres.Server) {
	_, url := startStandIn(b, 0)
	archive := &sink{reports: map[string]int{}, arrived: make(chan struct{}, studies*2)}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := &scp.Server{AETitle: "PACS", Handler: archive}
	go func() { _ = srv.Serve(l) }() // ends with the benchmark
	b.Cleanup(func() { _ = srv.Close() })

	bin, dir := filepath.Join(b.TempDir(), "echonode"), b.TempDir()
	if out, err := exec.Command("go", "build", "-o", bin, "github.com/echonode/echonode/cmd/echonode").CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	s := &site{b: b, dicom: freeport.Addr(b)}
	web, database := freeport.Addr(b), ""
	data := filepath.Join(dir, "data")
	serverUsed := func() time.Duration { return 0 }
	size := func() (total int64) { // of SQLite with its journal
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if info, err := os.Stat(filepath.Join(data, "node.db"+suffix)); err == nil {
				total += info.Size()
			}
		}
		return total
	}
	if server != nil {
		name := server.Create(b)
		secret := filepath.Join(dir, "password")
		if err := os.WriteFile(secret, []byte(postgres.Password+"\n"), 0o600); err != nil {
			b.Fatal(err)
		}
		database = fmt.Sprintf(`database: "%s", database_password_file: "%s", `, name, secret)
		serverUsed = func() time.Duration { return server.ProcessorTime(b) }
		size = func() int64 {
			conn, err := pgx.Connect(b.Context(), postgres.WithPassword(name))
			if err != nil {
				b.Fatal(err)
			}
			defer conn.Close(b.Context())
			var n int64
			if err := conn.QueryRow(b.Context(), `SELECT pg_database_size(current_database())`).Scan(&n); err != nil {
				b.Fatal(err)
			}
			return n
		}
	}
	config := filepath.Join(dir, "echonode.yaml")
	text := fmt.Sprintf(`dicom: {listen: "%s"}
http: {listen: "%s"}
storage: {%sdirectory: "%s", min_free: 16MiB, retention: 30s, retention_failed: 30s}
study: {idle: 1s, cap: 5m}
analysis: {provider: remote, remote: "%s", workers: 2}
outputs: {overlay: none}
destinations: [{name: pacs, address: "%s", ae_title: PACS}]
`, s.dicom, web, database, data, url, l.Addr())
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		b.Fatal(err)
	}
	s.run(bin, config, true, nil)
	s.wait("http://" + web + "/healthz")
	pid := s.workers[0].Process.Pid

	loop, id := smallLoop(b)
	scratch := b.TempDir()
	another := func(uid string, n int) []byte { return fmt.Appendf(nil, "%s%06d", uid[:len(uid)-6], n) }
	send := func(study int) {
		var sources []scp.ObjectSource
		for i := range loopsOfStudy {
			object := bytes.ReplaceAll(loop, []byte(id.SOPInstanceUID), another(id.SOPInstanceUID, 100000+study*loopsOfStudy+i))
			object = bytes.ReplaceAll(object, []byte(id.StudyInstanceUID), another(id.StudyInstanceUID, 100000+study))
			path := filepath.Join(scratch, fmt.Sprint(i))
			if err := os.WriteFile(path, object, 0o600); err != nil {
				b.Fatal(err)
			}
			sources = append(sources, scp.FileSource(path))
		}
		results, err := (&scp.Dialer{CallingAE: "CART", CalledAE: "ECHONODE", NetDial: new(net.Dialer).DialContext}).SendAll(b.Context(), s.dicom, sources, nil)
		if err != nil {
			b.Fatal(err)
		}
		for _, r := range results {
			if r.Err != nil {
				b.Fatal(r.Err)
			}
		}
	}
	done := 0
	await := func(until int) {
		for done < until {
			select {
			case <-archive.arrived:
				done++
			case <-time.After(5 * time.Minute):
				b.Fatalf("%d of %d studies are reported", done, until)
			}
		}
	}
	b.Logf("%8s %12s %14s %10s %12s %10s", "studies", "cpu ms each", "server ms each", "wall s", "database MiB", "RSS MiB")
	var costs []float64
	before, serverBefore, began := s.used(), serverUsed(), time.Now()
	each := studies / blocks
	for study := range each * blocks {
		send(study)
		await(study + 1 - onTheirWay)
		if (study+1)%each != 0 {
			continue
		}
		now, serverNow := s.used(), serverUsed()
		cost := float64((now - before).Milliseconds()) / float64(each)
		costs = append(costs, cost)
		b.Logf("%8d %12.1f %14.1f %10.1f %12.1f %10.1f", study+1, cost, float64((serverNow-serverBefore).Milliseconds())/float64(each), time.Since(began).Seconds(),
			float64(size())/(1<<20), float64(resident(b, pid))/(1<<20))
		before, serverBefore, began = now, serverNow, time.Now()
	}
	await(each * blocks)
	archive.mu.Lock()
	defer archive.mu.Unlock()
	for study, n := range archive.reports {
		if n != 1 {
			b.Errorf("study %s has %d reports", study, n)
		}
	}
	b.ReportMetric(costs[0], "first-ms/study")
	b.ReportMetric(costs[len(costs)-1], "last-ms/study")
	b.ReportMetric(costs[len(costs)-1]/costs[0], "last/first")
	b.ReportMetric(slices.Max(costs)/slices.Min(costs), "max/min")
}

// smallLoop is the beginning of the example with a quarter of its rows and
// columns, not compressed.
func smallLoop(b *testing.B) ([]byte, dicomio.Identity) {
	b.Helper()
	data, id := example(b)
	f, err := dicomio.Read(bytes.NewReader(data), int64(len(data)), dicomio.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	reader, err := f.Frames()
	if err != nil {
		b.Fatal(err)
	}
	const by, length = 4, 6
	rows, columns := reader.Info.Rows/by, reader.Info.Columns/by
	var frames [][]byte
	for i := range length {
		var whole image.Gray
		if err := reader.Gray(i, &whole); err != nil {
			b.Fatal(err)
		}
		frame := make([]byte, 0, rows*columns)
		for y := range rows {
			for x := range columns {
				frame = append(frame, whole.Pix[y*by*whole.Stride+x*by])
			}
		}
		frames = append(frames, frame)
	}
	ds := f.DataSet
	ds.SetInt(tag.Rows, int64(rows)).SetInt(tag.Columns, int64(columns)).SetInt(tag.SamplesPerPixel, 1).SetString(tag.PhotometricInterpretation, "MONOCHROME2")
	ds.Delete(tag.PlanarConfiguration, tag.WindowCenter, tag.WindowWidth, tag.FrameTimeVector)
	ds.SetInt(tag.NumberOfFrames, length).SetTags(tag.FrameIncrementPointer, tag.FrameTime).SetFloat(tag.FrameTime, 30)
	for _, region := range ds.Items(tag.SequenceOfUltrasoundRegions) {
		for _, t := range []dicomio.Tag{tag.RegionLocationMinX0, tag.RegionLocationMinY0, tag.RegionLocationMaxX1, tag.RegionLocationMaxY1} {
			v, _ := region.Int(t)
			region.SetInt(t, v/by)
		}
		for _, t := range []dicomio.Tag{tag.PhysicalDeltaX, tag.PhysicalDeltaY} {
			v, _ := region.Float(t)
			region.SetFloat(t, v*by)
		}
	}
	var out bytes.Buffer
	if err := dicomio.Write(&out, ds, dicomio.WriteOptions{Pixels: dicomio.FrameBytes(frames)}); err != nil {
		b.Fatal(err)
	}
	return out.Bytes(), id
}

// resident is the memory of a process.
func resident(b *testing.B, pid int) int64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		var kib int64
		if n, _ := fmt.Sscanf(line, "VmRSS: %d kB", &kib); n == 1 {
			return kib << 10
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
