package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/pressly/goose/v3"
)

// NewerError says that a database was written by a newer program: this one does not know its schema and leaves it alone.
type NewerError struct {
	What            string // "schema" or "job queue"
	Database, Known int64  // versions
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("written by a newer EchoNode: its %s has version %d, this program knows up to %d; "+
		"install that version again, or restore a backup from before the upgrade", e.What, e.Database, e.Known)
}

// refuseNewer returns a *NewerError for a database that is ahead of this program. Migrations only ever go up.
func refuseNewer(ctx context.Context, db *sql.DB, own *goose.Provider, tables string, knownJobs int) error {
	current, target, err := own.GetVersions(ctx)
	if err != nil {
		return err
	}
	if current > target {
		return &NewerError{"schema", current, target}
	}
	var jobs int
	err = db.QueryRowContext(ctx, tables).Scan(&jobs)
	if err != nil || jobs == 0 {
		return err
	}
	if err := db.QueryRowContext(ctx, `SELECT coalesce(max(version), 0) FROM river_migration WHERE line = 'main'`).Scan(&jobs); err != nil {
		return err
	}
	if jobs > knownJobs {
		return &NewerError{"job queue", int64(jobs), int64(knownJobs)}
	}
	return nil
}

// Snapshot writes a consistent copy of the database file from to the new file to. A node may use the database meanwhile:
// readers don't hold up SQLite's writer.
func Snapshot(ctx context.Context, from, to string) error {
	db, err := openFile(from, "rw")
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, `VACUUM INTO ?`, to)
	if err == nil {
		err = os.Chmod(to, fileMode)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("snapshot of %s: %w", from, err)
	}
	return nil
}

func openFile(path, mode string) (*sql.DB, error) {
	q := url.Values{"mode": {mode}, "_pragma": {"busy_timeout(10000)"}}
	db, err := sql.Open("sqlite", "file:"+path+"?"+q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	db.SetMaxOpenConns(1)
	return db, nil
}

// fileColumns are the columns that hold paths of files and folders, by table: those named path or directory. Files whose
// removal is due need not be there.
func fileColumns(ctx context.Context, db *sql.DB) (map[string][]string, error) {
	return columnsOf(db.QueryContext(ctx, `SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND c.name IN ('path', 'directory') ORDER BY m.name, c.name`))
}

// fileColumns is the same of an open database of either kind.
func (s *Store) fileColumns(ctx context.Context) (map[string][]string, error) {
	if s.pool == nil {
		return fileColumns(ctx, s.sql)
	}
	return columnsOf(s.sql.QueryContext(ctx, `SELECT table_name, column_name FROM information_schema.columns
		WHERE table_schema = current_schema() AND column_name IN ('path', 'directory') ORDER BY table_name, column_name`))
}

func columnsOf(rows *sql.Rows, err error) (map[string][]string, error) {
	if err != nil {
		return nil, err
	}
	out := map[string][]string{}
	for rows.Next() {
		var table, column string
		if err := rows.Scan(&table, &column); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		out[table] = append(out[table], column)
	}
	return out, errors.Join(rows.Err(), rows.Close())
}

// Files lists the files and folders that a database file refers to, sorted, each once.
func Files(ctx context.Context, path string) (files []string, err error) {
	db, err := openFile(path, "ro")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	columns, err := fileColumns(ctx, db)
	if err != nil {
		return nil, err
	}
	delete(columns, "removals")
	for table, names := range columns {
		for _, name := range names {
			rows, err := db.QueryContext(ctx, fmt.Sprintf(`SELECT DISTINCT %q FROM %q WHERE %q <> ''`, name, table, name))
			if err != nil {
				return nil, err
			}
			for rows.Next() {
				var file string
				if err := rows.Scan(&file); err != nil {
					return nil, errors.Join(err, rows.Close())
				}
				files = append(files, file)
			}
			if err := errors.Join(rows.Err(), rows.Close()); err != nil {
				return nil, err
			}
		}
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// Overtaken is the files and folders that a snapshot of the database file at path refers to, and that are not any more what
// it means: since then objects were corrected or removed, or studies removed. What came after them may be under their names.
func Overtaken(ctx context.Context, path, snapshot string) (files map[string]bool, err error) {
	db, err := openFile(path, "rw")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if _, err := db.ExecContext(ctx, `ATTACH DATABASE ? AS snapshot`, snapshot); err != nil {
		return nil, fmt.Errorf("snapshot of %s: %w", path, err)
	}
	const runGone = `NOT EXISTS (SELECT 1 FROM main.runs n WHERE n.id = r.id AND n.study_uid = r.study_uid)`
	all, err := collect(ctx, db, scanText, `SELECT i.path FROM snapshot.instances i
			WHERE NOT EXISTS (SELECT 1 FROM main.instances n WHERE n.sop_uid = i.sop_uid AND n.path = i.path AND n.received_at = i.received_at)
		UNION SELECT r.directory FROM snapshot.runs r WHERE `+runGone+`
		UNION SELECT o.path FROM snapshot.outputs o JOIN snapshot.runs r ON r.id = o.run_id WHERE `+runGone)
	files = make(map[string]bool, len(all))
	for _, file := range all {
		files[file] = true
	}
	return files, err
}

// Relocate brings the schema of a database file up to date and lets what it refers to below the folder from be below the
// folder to. A file that a newer program wrote is a *NewerError.
func Relocate(ctx context.Context, path, from, to string) (err error) {
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Relocate(ctx, from, to)
}

// Renumber lets a database file that was copied be another one than that it was copied from, for stores that belong to one
// database: a trial of a backup does not take what the running node has.
func Renumber(ctx context.Context, path string) (err error) {
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	return s.Transact(ctx, func(tx *Tx) error {
		_, err := tx.ExecContext(ctx, `DELETE FROM keys WHERE name = ?`, StoreKey)
		return err
	})
}

// StoreKey names the key that tells a database from others, see [Store.Key].
const StoreKey = "store"

// Relocate lets everything that is named below the folder from be named below the folder to. What was recorded of a file
// stays of it.
func (s *Store) Relocate(ctx context.Context, from, to string) error {
	columns, err := s.fileColumns(ctx)
	if err != nil {
		return err
	}
	// Names are clean, or as somebody wrote the folder. What has its new name is not looked at again: the new folder may be
	// in the old one.
	clean, written, target := prefixOf(from), filepath.ToSlash(strings.TrimSuffix(from, "/")+"/"), prefixOf(to)
	return s.Transact(ctx, func(tx *Tx) error {
		if clean == target {
			if written == clean {
				return nil
			}
			return rename(ctx, tx, columns, written, target)
		}
		if written != clean {
			if err := rename(ctx, tx, columns, written, clean); err != nil {
				return err
			}
		}
		return rename(ctx, tx, columns, clean, target)
	})
}

// prefixOf begins the names of files below a folder.
func prefixOf(dir string) string {
	switch dir = filepath.ToSlash(filepath.Clean(dir)); dir {
	case ".":
		return ""
	case "/":
		return dir
	}
	return dir + "/"
}

// rename puts to in place of from at the beginning of names. An empty from begins relative names.
func rename(ctx context.Context, tx *Tx, columns map[string][]string, from, to string) error {
	if err := retie(ctx, tx, from, to); err != nil {
		return fmt.Errorf("relocate checksums: %w", err)
	}
	for table, names := range columns {
		for _, name := range names {
			relative := ""
			if from == "" {
				relative = fmt.Sprintf(` AND %q <> '' AND substr(%q, 1, 1) <> '/'`, name, name)
			}
			if _, err := tx.ExecContext(ctx, fmt.Sprintf(`UPDATE %q SET %q = ? || substr(%q, ?) WHERE substr(%q, 1, ?) = ?`, table, name, name, name)+relative,
				to, utf8.RuneCountInString(from)+1, utf8.RuneCountInString(from), from); err != nil {
				return fmt.Errorf("relocate %s.%s: %w", table, name, err)
			}
		}
	}
	return nil
}

// retie ties the checksums of objects below from to the names that they are to have below to.
func retie(ctx context.Context, tx *Tx, from, to string) error {
	type summed struct{ uid, path, sum string }
	rows, err := tx.QueryContext(ctx, `SELECT sop_uid, path, sum FROM instances WHERE sum <> '' AND substr(path, 1, ?) = ?`,
		utf8.RuneCountInString(from), from)
	if err != nil {
		return err
	}
	var all []summed
	for rows.Next() {
		var i summed
		if err := rows.Scan(&i.uid, &i.path, &i.sum); err != nil {
			return errors.Join(err, rows.Close())
		}
		all = append(all, i)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, i := range all {
		if from == "" && strings.HasPrefix(i.path, "/") {
			continue
		}
		sum := untied(i.sum, i.path)
		if sum == "" {
			continue
		}
		if _, err := tx.ExecContext(ctx, `UPDATE instances SET sum = ? WHERE sop_uid = ?`, tied(sum, to+strings.TrimPrefix(i.path, from)), i.uid); err != nil {
			return err
		}
	}
	return nil
}

// NamedElsewhere lists the files and folders that the database names and that are below none of the folders, each once.
func (s *Store) NamedElsewhere(ctx context.Context, folders ...string) (names []string, err error) {
	columns, err := s.fileColumns(ctx)
	if err != nil {
		return nil, err
	}
	delete(columns, "removals")
	for table, of := range columns {
		for _, column := range of {
			query, args := fmt.Sprintf(`SELECT DISTINCT %q FROM %q WHERE %q <> ''`, column, table, column), []any(nil)
			for _, f := range folders {
				f = filepath.ToSlash(strings.TrimSuffix(f, "/") + "/")
				query += fmt.Sprintf(` AND substr(%q, 1, ?) <> ?`, column)
				args = append(args, utf8.RuneCountInString(f), f)
			}
			found, err := collect(ctx, s.read, func(r *sql.Rows) (name string, err error) { return name, r.Scan(&name) }, query, args...)
			if err != nil {
				return nil, fmt.Errorf("files named by %s.%s: %w", table, column, err)
			}
			names = append(names, found...)
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
