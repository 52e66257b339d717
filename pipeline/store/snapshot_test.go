package store

import (
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/echonode/echonode/conformance/postgres"
)

// TestNewerIsRefused: a program that is older than the data leaves them alone and says why.
func TestNewerIsRefused(t *testing.T) {
	for _, d := range databases {
		t.Run(d.name, func(t *testing.T) {
			for what, insert := range map[string]string{
				"schema":    `INSERT INTO goose_db_version (version_id, is_applied) VALUES (900, true)`,
				"job queue": `INSERT INTO river_migration (line, version) VALUES ('main', 900)`,
			} {
				path := d.open(t)
				s, err := Open(t.Context(), path)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.sql.Exec(insert); err != nil {
					t.Fatal(err)
				}
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				_, err = Open(t.Context(), path)
				var newer *NewerError
				if !errors.As(err, &newer) || newer.What != what || newer.Database != 900 || newer.Known == 0 || !strings.Contains(err.Error(), "newer EchoNode") {
					t.Errorf("%s: %v", what, err)
				}
			}
		})
	}
}

// TestNewerBeside: a program that runs goes on while a newer one adds to the schema, as it does in a rolling upgrade; started
// again it refuses.
func TestNewerBeside(t *testing.T) {
	database := postgres.Database(t)
	s := open(t, database)
	if err := s.Enter(t.Context(), Process{ID: "old", Seat: "here"}); err != nil {
		t.Fatal(err)
	}
	life := func(study string) {
		t.Helper()
		add(t, s, instance(study, study+".1", 1000))
		look(t, s)
		if queued, err := s.Queue(t.Context(), study, time.UnixMilli(2000), "basis", noJob); err != nil || !queued {
			t.Fatal(queued, err)
		}
		run, err := s.StartRun(t.Context(), study, 1)
		if err != nil {
			t.Fatal(err)
		}
		if err := s.FinishRun(t.Context(), run, []Output{{SOPInstanceUID: study + ".9", Kind: "report"}}, []Route{{Destination: "pacs", Kinds: []string{"report"}}},
			func(*Tx, int64, string) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if d, err := s.PendingDeliveries(t.Context(), run.ID, "pacs"); err != nil || len(d) != 1 {
			t.Fatal(d, err)
		}
		if _, _, err := s.Worklist(t.Context(), WorklistQuery{Search: "x", Limit: 10}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Beat(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	life("1")
	for _, table := range []string{"studies", "instances", "loops", "runs", "outputs", "deliveries", "worklist", "processes"} {
		if _, err := s.sql.Exec(`ALTER TABLE ` + table + ` ADD COLUMN another TEXT NOT NULL DEFAULT ''`); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.sql.Exec(`INSERT INTO goose_db_version (version_id, is_applied) VALUES (900, true)`); err != nil {
		t.Fatal(err)
	}
	life("2")
	if _, err := Open(t.Context(), database); !errors.As(err, new(*NewerError)) {
		t.Errorf("started again: %v", err)
	}
}

// TestSnapshotWhileWriting takes snapshots of a database that is written to: each holds a moment, with every object that
// was there before it began.
func TestSnapshotWhileWriting(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "node.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	add := func(i int) {
		uid := fmt.Sprintf("1.2.%d", i)
		if _, err := s.AddInstance(t.Context(), Instance{SOPInstanceUID: uid, StudyInstanceUID: "1.1", Path: filepath.Join("/old/spool", uid),
			Received: time.Now()}); err != nil {
			t.Error(err)
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range 200 {
			add(i)
		}
	})
	for i := range 5 {
		add(1000 + i)
		to := filepath.Join(dir, fmt.Sprintf("copy%d.db", i))
		if err := Snapshot(t.Context(), path, to); err != nil {
			t.Fatal(err)
		}
		files, err := Files(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		for j := range i + 1 {
			if !slices.Contains(files, fmt.Sprintf("/old/spool/1.2.%d", 1000+j)) {
				t.Errorf("snapshot %d lacks object %d of %d files", i, j, len(files))
			}
		}
	}
	wg.Wait()
	if err := Snapshot(t.Context(), path, filepath.Join(dir, "copy0.db")); err == nil {
		t.Error("a snapshot overwrites a file")
	}
}

func TestRelocate(t *testing.T) {
	path := filepath.Join(t.TempDir(), "node.db")
	s, err := Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	for i, file := range []string{"/old/spool/a", "/older/spool/b"} {
		if _, err := s.AddInstance(t.Context(), Instance{SOPInstanceUID: fmt.Sprint("1.2.", i), StudyInstanceUID: "1.1", Path: file,
			Received: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Relocate(t.Context(), path, "/old", "/new/place"); err != nil {
		t.Fatal(err)
	}
	files, err := Files(t.Context(), path)
	if want := []string{"/new/place/spool/a", "/older/spool/b"}; err != nil || !slices.Equal(files, want) {
		t.Errorf("%q, %v; want %q", files, err, want)
	}
}

func checkRelocate(t *testing.T, s *Store) {
	for i, file := range []string{"/ältere/spool/a", "/older/spool/b", "/new/place/spool/c"} {
		if _, err := s.AddInstance(t.Context(), Instance{SOPInstanceUID: fmt.Sprint("1.2.", i), StudyInstanceUID: "1.1", Path: file,
			Sum: "crc32c:0000000a", Received: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	elsewhere := func(want ...string) {
		t.Helper()
		if got, err := s.NamedElsewhere(t.Context(), "/new/place/spool", "/new/place/results"); err != nil || !slices.Equal(got, want) {
			t.Errorf("elsewhere: %q, %v; want %q", got, err, want)
		}
	}
	elsewhere("/older/spool/b", "/ältere/spool/a")
	if err := s.Relocate(t.Context(), "/ältere/spool", "/new/place/spool"); err != nil {
		t.Fatal(err)
	}
	elsewhere("/older/spool/b")
	paths, err := s.Paths(t.Context())
	if err != nil || len(paths) != 3 || !paths["/new/place/spool/a"] || !paths["/new/place/spool/c"] {
		t.Errorf("%v, %v", paths, err)
	}
	for _, d := range []string{".", "./x/", "/new/place", "/new/place/deeper", "/new"} {
		if err := errors.Join(s.Relocate(t.Context(), "/new/place", d), s.Relocate(t.Context(), d, "/new/place")); err != nil {
			t.Fatal(err)
		}
		if again, err := s.Paths(t.Context()); err != nil || !maps.Equal(paths, again) {
			t.Errorf("there and back by %s: %v, %v", d, again, err)
		}
	}
	for i := range 3 {
		if in, err := s.Instance(t.Context(), fmt.Sprint("1.2.", i)); err != nil || in.Sum != "crc32c:0000000a" {
			t.Errorf("%s has the checksum %q, %v", in.Path, in.Sum, err)
		}
	}
}
