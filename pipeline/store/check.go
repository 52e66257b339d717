package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/jackc/pgx/v5"
)

// CheckPostgreSQL looks at a database without changing it: what it is, and what
// should be looked at before a node relies on it.
func CheckPostgreSQL(ctx context.Context, database, password string) (what string, doubts []string, err error) {
	config, err := ParsePostgreSQL(database, password)
	if err != nil {
		return "", nil, err
	}
	conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
	if err != nil {
		return "", nil, fmt.Errorf("database at %s: %w", where(config), err)
	}
	defer func() { _ = conn.Close(ctx) }()
	var version, encoding, fsync, user string
	var number, processes, free int
	var create, schema bool
	if err := conn.QueryRow(ctx, `SELECT current_setting('server_version'), current_setting('server_version_num')::int, pg_encoding_to_char(encoding),
			current_setting('fsync'), current_user, has_schema_privilege(current_schema(), 'CREATE'), to_regclass('processes') IS NOT NULL,
			current_setting('max_connections')::int - (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
		FROM pg_database WHERE datname = current_database()`).Scan(&version, &number, &encoding, &fsync, &user, &create, &schema, &free); err != nil {
		return "", nil, err
	}
	if schema {
		if err := conn.QueryRow(ctx, `SELECT count(*) FROM processes`).Scan(&processes); err != nil {
			return "", nil, err
		}
	}
	doubt := func(format string, args ...any) { doubts = append(doubts, fmt.Sprintf(format, args...)) }
	if number < 130000 {
		doubt("PostgreSQL %s: 13 or newer is needed", version)
	}
	if encoding != "UTF8" {
		doubt("the encoding of the database is %s, not UTF8", encoding)
	}
	if fsync != "on" {
		doubt("fsync is off: a power cut of the server loses what was acknowledged")
	}
	if !create {
		doubt("user %s may not create tables in its schema", user)
	}
	if most := int(config.MaxConns) + 3; free < most {
		doubt("only %d connections are free, a process uses up to %d", free, most)
	}
	state := "no node has used it yet"
	if schema {
		state = fmt.Sprintf("%d processes work with it", processes)
	}
	return fmt.Sprintf("PostgreSQL %s at %s as user %s; %s", version, where(config), user, state), doubts, nil
}

// Identity is the number by which a database is told from others, hexadecimal as the
// marker of an object store has it; "" where no node has used it yet. Nothing is changed.
func Identity(ctx context.Context, database, password string) (number string, err error) {
	const ask = `SELECT value FROM keys WHERE name = '` + StoreKey + `'`
	if IsPostgreSQL(database) {
		config, err := ParsePostgreSQL(database, password)
		if err != nil {
			return "", err
		}
		conn, err := pgx.ConnectConfig(ctx, config.ConnConfig)
		if err != nil {
			return "", fmt.Errorf("database at %s: %w", where(config), err)
		}
		defer func() { _ = conn.Close(ctx) }()
		var there bool
		if err := conn.QueryRow(ctx, `SELECT to_regclass('keys') IS NOT NULL`).Scan(&there); err != nil || !there {
			return "", err
		}
		err = conn.QueryRow(ctx, ask).Scan(&number)
		if errors.Is(err, pgx.ErrNoRows) {
			err = nil
		}
		return number, err
	}
	if _, err := os.Stat(database); errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	db, err := openFile(database, "ro")
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	var tables int
	if err := db.QueryRowContext(ctx, `SELECT count(*) FROM sqlite_master WHERE name = 'keys'`).Scan(&tables); err != nil || tables == 0 {
		return "", err
	}
	err = db.QueryRowContext(ctx, ask).Scan(&number)
	if errors.Is(err, sql.ErrNoRows) {
		err = nil
	}
	return number, err
}
