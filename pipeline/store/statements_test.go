package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// keepingDB opens a database of one connection with a table of the numbers from
// 1 to 3.
func keepingDB(t *testing.T) (db *sql.DB, path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "t.db")
	db, err := openKeeping("file:" + path + "?_pragma=journal_mode(WAL)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	for _, query := range []string{`CREATE TABLE n (k INTEGER PRIMARY KEY)`, `INSERT INTO n VALUES (1), (2), (3)`} {
		if _, err := db.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	return db, path
}

// kept counts the statements of the database's connection, and those that are busy.
func kept(t *testing.T, db *sql.DB) (all, busy int) {
	t.Helper()
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Raw(func(c any) error {
		for _, s := range c.(*keepingConn).kept {
			all++
			if s.busy {
				busy++
			}
		}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	return all, busy
}

// A statement is compiled once, gives its rows and its errors each time, knows
// the table as it is now, and takes part in itself.
func TestKeptStatements(t *testing.T) {
	ctx := t.Context()
	db, _ := keepingDB(t)
	const add, list = `INSERT INTO n (k) VALUES (?)`, `SELECT * FROM n WHERE k > ? ORDER BY k`
	numbers := func(over int) (all []int) {
		t.Helper()
		all, err := collect(ctx, db, scanNumber, list, over)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for _, step := range []struct {
		k    int
		want bool
	}{{4, true}, {4, false}, {5, true}, {4, false}, {6, true}} {
		if _, err := db.ExecContext(ctx, add, step.k); (err == nil) != step.want {
			t.Errorf("%d: %v", step.k, err)
		}
	}
	if got := fmt.Sprint(numbers(3), numbers(5), numbers(9), numbers(4)); got != "[4 5 6] [6] [] [5 6]" {
		t.Error(got)
	}
	ended, end := context.WithCancel(ctx)
	end()
	if _, err := collect(ended, db, scanNumber, list, 3); err == nil {
		t.Error("a query whose context has ended answers")
	}
	// Rows that are left half way, and the same query within its rows.
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := tx.QueryContext(ctx, list, 0)
	if err != nil {
		t.Fatal(err)
	}
	rows.Next()
	within, err := collect(ctx, tx, scanNumber, list, 4)
	if err != nil || fmt.Sprint(within) != "[5 6]" {
		t.Error(within, err)
	}
	var second int
	rows.Next()
	if err := rows.Scan(&second); err != nil || second != 2 {
		t.Error(second, err)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		t.Error(err)
	}
	if err := tx.Commit(); err != nil {
		t.Error(err)
	}
	if _, err := db.ExecContext(ctx, `ALTER TABLE n ADD COLUMN name TEXT NOT NULL DEFAULT 'x'`); err != nil {
		t.Fatal(err)
	}
	named, err := collect(ctx, db, func(r *sql.Rows) (s string, err error) {
		var k int
		err = r.Scan(&k, &s)
		return fmt.Sprint(k, s), err
	}, list, 5)
	if err != nil || fmt.Sprint(named) != "[6x]" {
		t.Error(named, err)
	}
	if all, busy := kept(t, db); all != 5 || busy != 0 {
		t.Errorf("%d statements are kept, %d are busy; want 5, 0", all, busy)
	}
}

// What is kept is bounded, and nothing keeps the files open.
func TestKeptStatementsAreBounded(t *testing.T) {
	db, path := keepingDB(t)
	for i := range 3 * keptStatements {
		var k int
		if err := db.QueryRowContext(t.Context(), fmt.Sprintf(`SELECT k + %d FROM n WHERE k = ?`, i), 2).Scan(&k); err != nil || k != i+2 {
			t.Fatal(k, err)
		}
	}
	if all, busy := kept(t, db); all != keptStatements || busy != 0 {
		t.Errorf("%d statements are kept, %d are busy; want %d, 0", all, busy, keptStatements)
	}
	long := `SELECT k FROM n WHERE k = ? ` + strings.Repeat(" ", keptLength)
	if found, err := collect(t.Context(), db, scanNumber, long, 1); err != nil || len(found) != 1 {
		t.Error(found, err)
	}
	if all, _ := kept(t, db); all != keptStatements {
		t.Errorf("%d statements are kept", all)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	open, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("which files are open is not told here")
	}
	for _, fd := range open {
		if to, _ := os.Readlink("/proc/self/fd/" + fd.Name()); strings.HasPrefix(to, path) {
			t.Errorf("%s is still open", to)
		}
	}
}

// grown are the steps of a plan that go through all rows of something, which may
// be a table with a row for every study, object or output that the node has.
var grown = regexp.MustCompile(`^SCAN (studies|instances|loops|runs|outputs|deliveries|reviews|worklist|worklist_changes|audit|sent_reports|` +
	`river_job|conflicts|[a-z])\b`)

// few are the indexes that hold only what is under way or dead.
var few = regexp.MustCompile(`USING (COVERING )?INDEX (loops_working|loops_left|loops_deaths|loops_problems|deliveries_dead)\b`)

// whole are what statements begin with, or hold, that go through all rows of such
// a table and are not run for a loop or a study.
var whole = []string{
	// When the schema changes or the process starts.
	`UPDATE worklist SET n = rowid`, `INSERT INTO worklist_letters (rowid, search) SELECT n, search FROM worklist`,
	`INSERT INTO worklist_changes (study_uid) SELECT`,
	`INSERT INTO loops (sop_uid, study_uid, number) SELECT`, `SELECT path FROM instances UNION`, `FROM sqlite_master`,
	// When somebody asks: counts for metrics, pages of the worklist, move and merge, the check of a backup and its restoring, dropping a destination.
	`ORDER BY last_received_at DESC, study_uid DESC LIMIT ?`, // by the index, and no further than the page
	`SELECT state, count(*) FROM studies GROUP BY state`, `SELECT count(*) FROM worklist`, ` LIMIT ? OFFSET ?`, `FROM worklist_changes LIMIT ?`,
	`FROM instances WHERE patient = ?1`, `substr("path", 1`, `substr("directory", 1`, `substr(path, 1, ?) = ?`,
	`DELETE FROM deliveries WHERE destination = ?`,
	// Tests' own.
	`WITH RECURSIVE n(i)`, `INSERT INTO worklist (study_uid, patient_name`,
}

// scans are those steps of a statement's plan that go through all rows of a table
// that grows.
func scans(ctx context.Context, db *sql.Conn, query string) (found []string, err error) {
	rows, err := db.QueryContext(ctx, `EXPLAIN QUERY PLAN `+query, make([]any, strings.Count(query, "?"))...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var id, parent, unused int
		var detail string
		if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
			return nil, err
		}
		if grown.MatchString(detail) && !few.MatchString(detail) {
			found = append(found, detail)
		}
	}
	return found, rows.Err()
}

// noScans fails for every statement that a store in SQLite has run lately and that
// goes through all rows of a table that grows, but for whole: what a loop or a
// study costs must not depend on how many there have been.
func noScans(t testing.TB, s *Store) {
	t.Helper()
	if t.Failed() {
		return // it may have left a connection in use
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second) // the test's has ended
	defer cancel()
	for _, db := range []*sql.DB{s.sql, s.readers} {
		conn, err := db.Conn(ctx)
		if err != nil {
			return // the test has closed the store
		}
		var queries []string
		err = conn.Raw(func(c any) error {
			for query := range c.(*keepingConn).kept {
				if strings.HasPrefix(query, "SELECT") || strings.HasPrefix(query, "UPDATE") || strings.HasPrefix(query, "INSERT") || strings.HasPrefix(query, "DELETE") {
					queries = append(queries, query)
				}
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		for _, query := range queries {
			words := strings.Join(strings.Fields(query), " ")
			if slices.ContainsFunc(whole, func(w string) bool { return strings.Contains(words, w) }) {
				continue
			}
			if found, err := scans(ctx, conn, query); err != nil {
				t.Logf("no plan of %s: %v", query, err) // of a table that a test has removed
			} else if len(found) > 0 {
				t.Errorf("%s\ngoes through a table that grows: %q", query, found)
			}
		}
		if err := conn.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What noScans goes by tells a statement that has no index from one that has.
func TestScans(t *testing.T) {
	s := open(t, databases[0].open(t))
	conn, err := s.sql.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for query, want := range map[string]bool{
		`SELECT path FROM instances WHERE series_uid = ?`:                                        true,
		`SELECT path FROM instances WHERE study_uid = ?`:                                         false,
		`UPDATE loops SET state = 'waiting' WHERE owner = ?`:                                     true,
		`UPDATE loops SET state = 'waiting' WHERE state = 'working' AND owner = ?`:               false,
		`SELECT count(*) FROM studies s WHERE s.error <> ? AND s.state = 'done'`:                 false,
		`SELECT count(*) FROM studies s WHERE s.error <> ?`:                                      true,
		`DELETE FROM deliveries WHERE destination = ? AND attempts > 3`:                          true,
		`DELETE FROM deliveries WHERE run_id = ? AND destination = ?`:                            false,
		`SELECT 1 FROM processes WHERE host = ? AND EXISTS (SELECT 1 FROM senders WHERE served)`: false,
		`SELECT id FROM river_job WHERE kind = ?`:                                                false,
		`SELECT id FROM river_job WHERE max_attempts = ?`:                                        true,
	} {
		found, err := scans(t.Context(), conn, query)
		if err != nil || (len(found) > 0) != want {
			t.Errorf("%s: %q %v, want a scan %v", query, found, err, want)
		}
	}
}
