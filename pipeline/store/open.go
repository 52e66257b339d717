package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/riverdriver"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed sqlite/*.sql postgresql/*.sql
var migrations embed.FS

// fileMode is the mode of the database: it names studies.
const fileMode = 0o640

// IsPostgreSQL reports whether the name of a database is PostgreSQL's, and no
// file.
func IsPostgreSQL(database string) bool {
	return strings.HasPrefix(database, "postgres://") || strings.HasPrefix(database, "postgresql://")
}

// Open opens the store in a file of SQLite, which is created if it does not
// exist, or in a database of PostgreSQL, given as URL, and brings its schema up
// to date. What a newer program has written stays as it is: *NewerError.
func Open(ctx context.Context, database string) (*Store, error) {
	if IsPostgreSQL(database) {
		return OpenPostgreSQL(ctx, database, "")
	}
	return openSQLite(ctx, database)
}

func openSQLite(ctx context.Context, path string) (*Store, error) {
	q := url.Values{}
	for _, p := range []string{"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(ON)", "busy_timeout(10000)"} {
		q.Add("_pragma", p)
	}
	q.Set("_txlock", "immediate")
	db, err := openKeeping("file:" + path + "?" + q.Encode())
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	// SQLite has one writer; one connection queues writers in Go instead of
	// letting them fail with SQLITE_BUSY (River asks for the same).
	db.SetMaxOpenConns(1)
	// Made here, so that its mode does not depend on the process's: SQLite
	// gives its other files the mode of the database.
	file := &place{path: path}
	if file.open, err = os.OpenFile(path, os.O_CREATE|os.O_RDWR, fileMode); err == nil {
		err = file.open.Chmod(fileMode)
	}
	if err == nil {
		err = migrate(ctx, db, goose.DialectSQLite3, "sqlite", riversqlite.New(db), `SELECT count(*) FROM sqlite_master WHERE name = 'river_migration'`)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("prepare %s: %w", path, err), db.Close(), file.close())
	}
	read, err := openReaders(ctx, "file:"+path+"?"+q.Encode())
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open %s: %w", path, err), db.Close(), file.close())
	}
	return &Store{sql: db, readers: read, db: handle{on: db, file: file}, read: handle{on: read}}, nil
}

// ErrFileGone is of a database of SQLite whose file was removed or replaced while
// it was open: nothing is written to what nobody finds again.
var ErrFileGone = errors.New("the file of the database was removed or replaced while the node runs: stop the node, put it back, and start again")

// place is where the file of a database is, and which it is. It stays open as long
// as the database: closing it would end the locks that the process has on it.
type place struct {
	path string
	open *os.File
}

// check fails where the file is another than the open one. No place is any.
func (p *place) check() error {
	if p == nil {
		return nil
	}
	now, err := os.Stat(p.path)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", p.path, ErrFileGone)
	}
	is, openErr := p.open.Stat() // asked anew: not every file system's numbers last
	if err == nil && openErr == nil && !os.SameFile(now, is) {
		return fmt.Errorf("%s: %w", p.path, ErrFileGone)
	}
	return nil // what else is wrong with it, a statement says
}

func (p *place) close() error {
	if p == nil || p.open == nil {
		return nil
	}
	if err := p.open.Close(); !errors.Is(err, os.ErrClosed) { // a store may be closed twice
		return err
	}
	return nil
}

// openReaders opens connections that only read, what has been committed: they do
// not wait for the one that writes.
func openReaders(ctx context.Context, dsn string) (*sql.DB, error) {
	db, err := openKeeping(dsn + "&_pragma=query_only(1)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(4)
	if err := db.PingContext(ctx); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

// ParsePostgreSQL reads the URL of a database, with everything that libpq's
// environment says beside it (PGPASSWORD, PGPASSFILE, PGSSLROOTCERT ...). A
// password that is given takes the place of what they say. Errors do not hold
// the URL.
func ParsePostgreSQL(database, password string) (*pgxpool.Config, error) {
	c, err := pgxpool.ParseConfig(database)
	if err != nil {
		// The library's error quotes the URL, with the password masked where it
		// recognises it.
		return nil, errors.New("the URL of the database cannot be read: postgres://USER@HOST:PORT/NAME?sslmode=verify-full")
	}
	if password != "" {
		c.ConnConfig.Password = password
	}
	if !strings.Contains(database, "pool_max_conns=") {
		c.MaxConns = postgresConnections
	}
	if c.ConnConfig.ConnectTimeout == 0 {
		c.ConnConfig.ConnectTimeout = 10 * time.Second
	}
	if c.ConnConfig.RuntimeParams["application_name"] == "" {
		c.ConnConfig.RuntimeParams["application_name"] = "echonode"
	}
	c.AfterConnect = func(ctx context.Context, conn *pgx.Conn) error {
		// An acknowledged object survives a power cut of the server, whatever the
		// server's default; a transaction whose process hangs holds nobody up, and the
		// locks of one whose machine has gone are free within half a minute.
		_, err := conn.Exec(ctx, `SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off';
			SET idle_in_transaction_session_timeout = '60s';
			SET tcp_keepalives_idle = 15; SET tcp_keepalives_interval = 5; SET tcp_keepalives_count = 3; SET tcp_user_timeout = '30s'`)
		return err
	}
	return c, nil
}

// postgresConnections is how many connections a process opens at most, unless
// the URL says pool_max_conns.
const postgresConnections = 12

// OpenPostgreSQL is Open with a password that the URL does not hold.
func OpenPostgreSQL(ctx context.Context, database, password string) (*Store, error) {
	config, err := ParsePostgreSQL(database, password)
	if err != nil {
		return nil, err
	}
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("database at %s: %w", where(config), err)
	}
	db := stdlib.OpenDBFromPool(pool)
	one := handle{on: db, postgres: true, limit: postgresTimeout}
	s := &Store{sql: db, pool: pool, db: one, read: one, locks: newLockConn()}
	if err := migratePostgreSQL(ctx, s); err != nil {
		return nil, errors.Join(fmt.Errorf("database at %s: %w", where(config), err), s.Close())
	}
	return s, nil
}

// where names a database without user and password.
func where(c *pgxpool.Config) string {
	return fmt.Sprintf("%s:%d/%s", c.ConnConfig.Host, c.ConnConfig.Port, c.ConnConfig.Database)
}

// migratePostgreSQL lets one process at a time bring the schema up to date.
func migratePostgreSQL(ctx context.Context, s *Store) (err error) {
	conn, err := s.pool.Acquire(ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if _, err := conn.Exec(ctx, `SELECT pg_advisory_lock($1)`, int64(lockMigration)); err != nil {
		return err
	}
	defer func() {
		_, unlock := conn.Exec(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(lockMigration))
		err = errors.Join(err, unlock)
	}()
	return migrate(ctx, s.sql, goose.DialectPostgres, "postgresql", riverpgxv5.New(s.pool), `SELECT count(to_regclass('river_migration'))`)
}

func migrate[T any](ctx context.Context, db *sql.DB, dialect goose.Dialect, folder string, driver riverdriver.Driver[T], jobTable string) error {
	dir, err := fs.Sub(migrations, folder)
	if err != nil {
		return err
	}
	own, err := goose.NewProvider(dialect, db, dir)
	if err != nil {
		return err
	}
	jobs, err := rivermigrate.New(driver, nil)
	if err != nil {
		return err
	}
	known := 0
	for _, m := range jobs.AllVersions() {
		known = max(known, m.Version)
	}
	if err := refuseNewer(ctx, db, own, jobTable, known); err != nil {
		return err
	}
	if _, err := own.Up(ctx); err != nil {
		return err
	}
	_, err = jobs.Migrate(ctx, rivermigrate.DirectionUp, nil)
	return err
}

// Close closes the database.
func (s *Store) Close() error {
	var err error
	if s.readers != nil {
		err = s.readers.Close()
	}
	err = errors.Join(err, s.sql.Close(), s.db.file.close())
	if s.locks.busy != nil {
		s.locks.busy <- struct{}{}
		defer func() { <-s.locks.busy }()
	}
	if s.locks.conn != nil {
		s.locks.close()
	}
	if s.pool != nil {
		s.pool.Close()
	}
	return err
}
