package jobs

import (
	"context"
	"database/sql"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"
	"github.com/riverqueue/river/rivertype"

	"github.com/echonode/echonode/pipeline/store"
)

// queue is the library's client on either database.
type queue interface {
	Start(ctx context.Context) error
	StopAndCancel(ctx context.Context) error
	Insert(ctx context.Context, args river.JobArgs, opts *river.InsertOpts) (*rivertype.JobInsertResult, error)
	JobDelete(ctx context.Context, id int64) (*rivertype.JobRow, error)
	insertTx(ctx context.Context, tx *store.Tx, args river.JobArgs, opts *river.InsertOpts) error
	addQueue(name string, config river.QueueConfig) error
	removeQueue(ctx context.Context, name string) error
	words() words
}

// words are what the databases say differently about the library's table.
type words struct {
	args  string // a job's arguments as JSON
	owner string // the process that has taken it last
	time  string // a parameter as a time
	later string // scheduled later than a parameter
	stamp func(time.Time) any
}

var (
	sqliteWords = words{args: `json(args)`, owner: `json_extract(attempted_by, '$[#-1]')`, time: `?`, later: `julianday(scheduled_at) > julianday(?)`,
		stamp: func(t time.Time) any { return t.UTC().Format("2006-01-02 15:04:05.000") }}
	postgresWords = words{args: `args`, owner: `attempted_by[array_upper(attempted_by, 1)]`, time: `CAST(? AS TIMESTAMPTZ)`,
		later: `scheduled_at > CAST(? AS TIMESTAMPTZ)`, stamp: func(t time.Time) any { return t }}
)

// clock is the database's, where this machine's differs from it.
type clock struct{ store *store.Store }

// Now has a monotonic reading, by which the library measures.
func (c clock) Now() time.Time { return c.store.Now() }

// NowOrNil is nil where the time may be the database's own.
func (c clock) NowOrNil() *time.Time {
	if c.store.Ahead() == 0 {
		return nil
	}
	now := c.Now().UTC()
	return &now
}

type client[T any] struct {
	*river.Client[T]
	tx  func(*store.Tx) T
	say words
}

func (c client[T]) insertTx(ctx context.Context, tx *store.Tx, args river.JobArgs, opts *river.InsertOpts) error {
	_, err := c.InsertTx(ctx, c.tx(tx), args, opts)
	return err
}

func (c client[T]) addQueue(name string, config river.QueueConfig) error {
	return c.Queues().Add(name, config)
}

func (c client[T]) removeQueue(ctx context.Context, name string) error {
	return c.Queues().Remove(ctx, name)
}

func (c client[T]) words() words { return c.say }

func newQueue(st *store.Store, config *river.Config) (queue, error) {
	if pool := st.PostgreSQL(); pool != nil {
		c, err := river.NewClient(riverpgxv5.New(pool), config)
		return client[pgx.Tx]{c, (*store.Tx).PostgreSQL, postgresWords}, err
	}
	c, err := river.NewClient(riversqlite.New(st.SQLite()), config)
	return client[*sql.Tx]{c, (*store.Tx).SQLite, sqliteWords}, err
}
