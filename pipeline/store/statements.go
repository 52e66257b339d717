package store

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"

	"modernc.org/sqlite"
)

// openKeeping opens a database of SQLite whose connections keep the statements
// that they have compiled: to compile one costs about as much as to run it, and
// the store and the job queue have a hundred, which they run again and again.
func openKeeping(dsn string) (*sql.DB, error) {
	c, err := sqlite.NewConnector(dsn)
	if err != nil {
		return nil, err
	}
	return sql.OpenDB(keeping{c}), nil
}

type keeping struct{ driver.Connector }

// Connect implements driver.Connector.
func (k keeping) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := k.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	inner, ok := c.(connection)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T lacks what database/sql may ask for", c), c.Close())
	}
	return &keepingConn{connection: inner, kept: map[string]*keptStatement{}}, nil
}

// connection is what the driver's connections can do.
type connection interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ConnBeginTx
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

const (
	// keptStatements bounds the compiled statements of a connection, of some ten
	// kilobytes each.
	keptStatements = 128
	// keptLength leaves out scripts, which are run once.
	keptLength = 4096
)

// keepingConn is a connection that keeps its statements. database/sql lets only
// one goroutine at a time use it.
type keepingConn struct {
	connection
	kept map[string]*keptStatement
	uses int64
}

type keptStatement struct {
	compiled
	busy bool // its rows are being read
	used int64
}

// compiled is what the driver's statements can do.
type compiled interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// statement gives the kept statement of a query, nil where the query is to be run
// without one.
func (c *keepingConn) statement(ctx context.Context, query string) (*keptStatement, error) {
	c.uses++
	if s := c.kept[query]; s != nil {
		if s.busy {
			return nil, nil // a query within its own rows
		}
		s.used = c.uses
		return s, nil
	}
	if len(query) > keptLength {
		return nil, nil
	}
	if err := c.makeRoom(); err != nil {
		return nil, err
	}
	prepared, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	can, ok := prepared.(compiled)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%T cannot be run with a context", prepared), prepared.Close())
	}
	s := &keptStatement{compiled: can, used: c.uses}
	c.kept[query] = s
	return s, nil
}

// makeRoom gives up the statement that was not used for longest.
func (c *keepingConn) makeRoom() error {
	if len(c.kept) < keptStatements {
		return nil
	}
	oldest := ""
	for query, s := range c.kept {
		if !s.busy && (oldest == "" || s.used < c.kept[oldest].used) {
			oldest = query
		}
	}
	if oldest == "" {
		return nil
	}
	s := c.kept[oldest]
	delete(c.kept, oldest)
	return s.Close()
}

// ExecContext implements driver.ExecerContext.
func (c *keepingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.connection.ExecContext(ctx, query, args)
	}
	return s.ExecContext(ctx, args)
}

// QueryContext implements driver.QueryerContext.
func (c *keepingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	s, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return c.connection.QueryContext(ctx, query, args)
	}
	rows, err := s.QueryContext(ctx, args)
	if err != nil {
		return nil, err
	}
	s.busy = true
	return &keptRows{Rows: rows, of: s}, nil
}

// Close implements driver.Conn. A statement that is left would keep the files of
// the database open.
func (c *keepingConn) Close() error {
	var errs []error
	for query, s := range c.kept {
		errs = append(errs, s.Close())
		delete(c.kept, query)
	}
	return errors.Join(append(errs, c.connection.Close())...)
}

// keptRows gives the statement back when they have been read.
type keptRows struct {
	driver.Rows
	of *keptStatement
}

// Close implements driver.Rows.
func (r *keptRows) Close() error {
	err := r.Rows.Close()
	r.of.busy = false
	return err
}
