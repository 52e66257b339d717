package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// The queries of this package are written once, in the SQL that SQLite and
// PostgreSQL share, with SQLite's marks for parameters; see rebind. What they
// say differently is here.

// listRows is the strings of a JSON array, given as a parameter, as the rows of a
// subquery; its argument comes from the function list.
const listRows = `SELECT value FROM json_each(?)`

// nextRun is the number of a new run, which none has had before: a job may name one
// that was removed.
const nextRun = `(SELECT last + 1 FROM run_numbers WHERE id = 1)`

// postgresWords are the places where PostgreSQL has other words.
var postgresWords = strings.NewReplacer(
	nextRun, `DEFAULT`,
	listRows, `SELECT json_array_elements_text(CAST(? AS json))`,
)

// list is the argument of listRows.
func list[T ~string](values []T) string {
	if values == nil {
		values = []T{}
	}
	b, err := json.Marshal(values)
	if err != nil {
		panic(err) // strings always have a JSON form
	}
	return string(b)
}

// runner runs statements: a database, a connection or a transaction.
type runner interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// handle runs the package's queries on either database.
type handle struct {
	on       runner
	postgres bool
	limit    time.Duration // of each statement with what it answers; 0: none but the context's
	file     *place        // which is written to; nil where that is no file
}

// bounded is a context for one statement.
func (h handle) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if h.limit == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, h.limit)
}

// ExecContext runs a statement.
func (h handle) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if err := h.file.check(); err != nil {
		return nil, err
	}
	ctx, cancel := h.bounded(ctx)
	defer cancel()
	query, args = h.bind(query, args)
	return h.on.ExecContext(ctx, query, args...)
}

// QueryContext runs a query. The caller sees to the limit, see collect.
func (h handle) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	query, args = h.bind(query, args)
	return h.on.QueryContext(ctx, query, args...)
}

// QueryRowContext runs a query of one row.
func (h handle) QueryRowContext(ctx context.Context, query string, args ...any) row {
	ctx, cancel := h.bounded(ctx)
	query, args = h.bind(query, args)
	return row{h.on.QueryRowContext(ctx, query, args...), cancel}
}

// row is the answer to a query of one row. Scan must be called.
type row struct {
	row  *sql.Row
	done context.CancelFunc
}

// Scan is that of sql.Row.
func (r row) Scan(to ...any) error {
	defer r.done()
	return r.row.Scan(to...)
}

func (h handle) bind(query string, args []any) (string, []any) {
	if !h.postgres {
		return query, args
	}
	clean := make([]any, len(args))
	for i, a := range args {
		if s, ok := a.(string); ok {
			a = storable(s)
		}
		clean[i] = a
	}
	return rebind(query), clean
}

// storable is a text as PostgreSQL takes it: UTF-8 without NUL. What peers say
// is stored as they say it otherwise.
func storable(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// rebound are queries in PostgreSQL's words.
var rebound sync.Map

// rebind puts a query into PostgreSQL's words: ? becomes $1, $2 and so on, ?3
// becomes $3.
func rebind(query string) string {
	if known, ok := rebound.Load(query); ok {
		return known.(string)
	}
	in := postgresWords.Replace(query)
	var out strings.Builder
	next, quoted := 1, false
	for i := 0; i < len(in); i++ {
		c := in[i]
		if c == '\'' {
			quoted = !quoted
		}
		if c != '?' || quoted {
			out.WriteByte(c)
			continue
		}
		end := i + 1
		for end < len(in) && in[end] >= '0' && in[end] <= '9' {
			end++
		}
		out.WriteByte('$')
		if end > i+1 {
			out.WriteString(in[i+1 : end])
		} else {
			out.WriteString(strconv.Itoa(next))
			next++
		}
		i = end - 1
	}
	rebound.Store(query, out.String())
	return out.String()
}

// Tx is a transaction of the store, in which jobs are enqueued that follow from
// what is recorded in it.
type Tx struct {
	handle
	sqlite *sql.Tx
	pgx    pgx.Tx
	ahead  time.Duration // see Store.Ahead
}

// now is [Store.Now].
func (tx *Tx) now() time.Time { return time.Now().Add(-tx.ahead) }

// SQLite is the transaction where the store is in SQLite, or nil.
func (tx *Tx) SQLite() *sql.Tx { return tx.sqlite }

// PostgreSQL is the transaction where the store is in PostgreSQL, or nil.
func (tx *Tx) PostgreSQL() pgx.Tx { return tx.pgx }

// lock lets nobody else change what belongs to studies until the transaction
// ends. Everything that concerns a study begins with it. In SQLite there is one
// writer anyway.
func (tx *Tx) lock(ctx context.Context, studies ...string) error {
	if !tx.postgres {
		return nil
	}
	_, err := collect(ctx, tx, scanText, locking, list(studies))
	return err
}

const locking = `SELECT study_uid FROM studies WHERE study_uid IN (` + listRows + `) ORDER BY study_uid FOR UPDATE`

// locking is lock as a step.
func (tx *Tx) locking(studies ...string) step {
	if !tx.postgres {
		return step{}
	}
	return step{query: locking, args: []any{list(studies)}}
}

// step is a statement that is run with others. One without a query does nothing.
type step struct {
	query   string
	args    []any
	rows    *int64 // how many it changed
	numbers *[]int // what it answers
}

// run runs statements one after the other, in PostgreSQL by one exchange with the
// server: while a processor is busy each takes milliseconds, in which others wait
// for the locks.
func (tx *Tx) run(ctx context.Context, steps ...step) error {
	if tx.postgres {
		return tx.batch(ctx, steps)
	}
	for _, st := range steps {
		if st.query == "" {
			continue
		}
		if st.numbers != nil {
			found, err := collect(ctx, tx, scanNumber, st.query, st.args...)
			if err != nil {
				return err
			}
			*st.numbers = found
			continue
		}
		res, err := tx.ExecContext(ctx, st.query, st.args...)
		if err != nil {
			return err
		}
		if st.rows != nil {
			if *st.rows, err = res.RowsAffected(); err != nil {
				return err
			}
		}
	}
	return nil
}

// batch is run in PostgreSQL.
func (tx *Tx) batch(ctx context.Context, steps []step) error {
	var b pgx.Batch
	for _, st := range steps {
		if st.query == "" {
			continue
		}
		query, args := tx.bind(st.query, st.args)
		q := b.Queue(query, args...)
		switch {
		case st.numbers != nil:
			q.Query(func(rows pgx.Rows) (err error) {
				*st.numbers, err = pgx.CollectRows(rows, pgx.RowTo[int])
				return err
			})
		case st.rows != nil:
			q.Exec(func(tag pgconn.CommandTag) error {
				*st.rows = tag.RowsAffected()
				return nil
			})
		}
	}
	return tx.pgx.SendBatch(ctx, &b).Close()
}

func scanNumber(r *sql.Rows) (n int, err error) { return n, r.Scan(&n) }

// lockOf is lock for the studies that a query names.
func (tx *Tx) lockOf(ctx context.Context, query string, args ...any) error {
	if !tx.postgres {
		return nil
	}
	studies, err := collect(ctx, tx, scanText, query, args...)
	if err != nil || len(studies) == 0 {
		return err
	}
	return tx.lock(ctx, studies...)
}

func scanText(r *sql.Rows) (s string, err error) { return s, r.Scan(&s) }

// Numbers of PostgreSQL's advisory locks, which only this package uses.
const (
	lockMigration = 0x6563686f01 + iota
	lockLease     // who is next
	lockRescue
)

// one lets only one transaction at a time go on from here, until it ends.
func (tx *Tx) one(ctx context.Context, number int64) error {
	if !tx.postgres {
		return nil
	}
	_, err := tx.ExecContext(ctx, `SELECT pg_advisory_xact_lock(?)`, number)
	return err
}

// Alone lets only one transaction at a time that calls it go on.
func (tx *Tx) Alone(ctx context.Context) error { return tx.one(ctx, lockRescue) }

// Transact runs f in a transaction. Where two processes meet, f may run again
// after it was rolled back.
func (s *Store) Transact(ctx context.Context, f func(*Tx) error) error {
	if s.pool == nil {
		return s.transactSQLite(ctx, f)
	}
	ctx, cancel := s.db.bounded(ctx)
	defer cancel()
	return again(func() error { return s.transactPostgres(ctx, f) })
}

// again tries what meets others in PostgreSQL and was rolled back.
func again(f func() error) error {
	for try := 1; ; try++ {
		err := f()
		var pg *pgconn.PgError
		if err == nil || try == transactTries || !errors.As(err, &pg) || pg.Code != deadlock && pg.Code != serialization {
			return err
		}
	}
}

const (
	// postgresTimeout is how long a server may take for a statement, or for a
	// transaction. Who does not answer is not waited for: the object is refused,
	// the job tried again.
	postgresTimeout = 30 * time.Second
	transactTries   = 10

	deadlock      = "40P01"
	serialization = "40001"
)

// transactPostgres begins the transaction below database/sql, so that the job
// queue, which knows pgx only, can take part in it.
func (s *Store) transactPostgres(ctx context.Context, f func(*Tx) error) (err error) {
	conn, err := s.sql.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closing := conn.Close(); !errors.Is(closing, sql.ErrConnDone) {
			err = errors.Join(err, closing)
		}
	}()
	var tx pgx.Tx
	if err := conn.Raw(func(c any) (err error) {
		tx, err = c.(*stdlib.Conn).Conn().Begin(ctx)
		return err
	}); err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			end, cancel := context.WithTimeout(context.WithoutCancel(ctx), postgresTimeout)
			defer cancel()
			if back := tx.Rollback(end); back != nil && !errors.Is(back, pgx.ErrTxClosed) {
				err = errors.Join(err, back)
			}
		}
	}()
	if err := f(&Tx{handle: handle{on: conn, postgres: true}, pgx: tx, ahead: s.Ahead()}); err != nil {
		return err
	}
	done = true
	return tx.Commit(ctx)
}

// SQLite is the database where the store is in SQLite, or nil; for the job
// queue that shares it.
func (s *Store) SQLite() *sql.DB {
	if s.pool != nil {
		return nil
	}
	return s.sql
}

// PostgreSQL is the database where the store is in PostgreSQL, or nil; for the
// job queue that shares it.
func (s *Store) PostgreSQL() *pgxpool.Pool { return s.pool }

// querier is a database or a transaction.
type querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// Rows runs a query that only reads and gives each row of its answer to a function. It
// sees what has been committed, and waits for no writer.
func (s *Store) Rows(ctx context.Context, each func(*sql.Rows) error, query string, args ...any) error {
	return everyRow(ctx, s.read, each, query, args...)
}

// Rows is [Store.Rows] in a transaction, of what that sees.
func (tx *Tx) Rows(ctx context.Context, each func(*sql.Rows) error, query string, args ...any) error {
	return everyRow(ctx, tx, each, query, args...)
}

func everyRow(ctx context.Context, db querier, each func(*sql.Rows) error, query string, args ...any) error {
	_, err := collect(ctx, db, func(r *sql.Rows) (struct{}, error) { return struct{}{}, each(r) }, query, args...)
	return err
}

func collect[T any](ctx context.Context, db querier, scan func(*sql.Rows) (T, error), query string, args ...any) ([]T, error) {
	if h, ok := db.(handle); ok {
		var cancel context.CancelFunc
		ctx, cancel = h.bounded(ctx)
		defer cancel()
	}
	rows, err := db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var out []T
	for rows.Next() {
		v, err := scan(rows)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, rows.Err()
}
