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
	rows, err := db.QueryContext(ctx, `SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c
		WHERE m.type = 'table' AND c.name IN ('path', 'directory') ORDER BY m.name, c.name`)
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

// Relocate brings the schema of a database file up to date and lets what it refers to below the folder from be below the
// folder to. A file that a newer program wrote is a *NewerError.
func Relocate(ctx context.Context, path, from, to string) (err error) {
	s, err := Open(ctx, path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	if from == to {
		return nil
	}
	columns, err := fileColumns(ctx, s.sql)
	if err != nil {
		return err
	}
	from, to = strings.TrimSuffix(from, "/")+"/", strings.TrimSuffix(to, "/")+"/"
	return s.Transact(ctx, func(tx *Tx) error {
		for table, names := range columns {
			for _, name := range names {
				if _, err := tx.ExecContext(ctx, fmt.Sprintf(`UPDATE %q SET %q = ?1 || substr(%q, length(?2) + 1) WHERE substr(%q, 1, length(?2)) = ?2`,
					table, name, name, name), filepath.ToSlash(to), filepath.ToSlash(from)); err != nil {
					return fmt.Errorf("relocate %s.%s: %w", table, name, err)
				}
			}
		}
		return nil
	})
}
