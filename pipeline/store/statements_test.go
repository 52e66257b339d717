package store

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
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
	if err := rows.Close(); err != nil {
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
