package config

import (
	"net/url"
	"path/filepath"
	"strings"

	"github.com/echonode/echonode/pipeline/store"
)

// Database is where the database is: a file, or a URL of PostgreSQL. A file is
// in the data directory unless its path is absolute: where a process happens to
// run does not matter.
func (c *Config) Database() string {
	database := c.Storage.Database
	switch {
	case database == "", database == "sqlite":
		return filepath.Join(c.Storage.Directory, "node.db")
	case store.IsPostgreSQL(database), filepath.IsAbs(database):
		return database
	}
	return filepath.Join(c.Storage.Directory, database)
}

// check holds the database's settings against each other. What it says does not
// hold the URL.
func (s Storage) check(bad func(key, format string, args ...any)) {
	if !store.IsPostgreSQL(s.Database) {
		if s.DatabasePasswordFile != "" {
			bad("storage.database_password_file", "is for a database of PostgreSQL")
		}
		// Meant for a server, and not for the name of a file.
		if strings.Contains(s.Database, "://") || strings.Contains(s.Database, "=") {
			bad("storage.database", "is neither sqlite, nor a path (without = and ://), nor of the form postgres://USER@HOST:PORT/NAME?sslmode=verify-full")
		}
		return
	}
	u, err := url.Parse(s.Database)
	if err != nil {
		bad("storage.database", "cannot be read as postgres://USER@HOST:PORT/NAME?sslmode=verify-full")
		return
	}
	if _, given := u.User.Password(); given || u.Query().Has("password") {
		bad("storage.database", "holds a password: put it into a file (database_password_file), or into PGPASSWORD or PGPASSFILE of the environment")
		return
	}
	if _, err := store.ParsePostgreSQL(s.Database, ""); err != nil {
		bad("storage.database", "%v", err)
	}
}
