package cli

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/echonode/echonode/cmd/echonode/internal/config"
	"github.com/echonode/echonode/pipeline/store"
)

// databasePassword is the first line of the configured file, "" without one.
func databasePassword(c *config.Config) (string, error) {
	if c.Storage.DatabasePasswordFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(c.Storage.DatabasePasswordFile)
	if err != nil {
		return "", fmt.Errorf("storage.database_password_file: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimRight(line, "\r"), nil
}

// openStore opens the configured database.
func openStore(ctx context.Context, c *config.Config) (*store.Store, error) {
	password, err := databasePassword(c)
	if err != nil {
		return nil, err
	}
	var st *store.Store
	if database := c.Database(); store.IsPostgreSQL(database) {
		st, err = store.OpenPostgreSQL(ctx, database, password)
	} else {
		st, err = store.Open(ctx, database)
	}
	if newer := (*store.NewerError)(nil); errors.As(err, &newer) {
		return nil, usageError{err} // starting it again would not help
	}
	return st, err
}

// errStopped is of a node that was told to stop before it was ready: no failure.
var errStopped = errors.New("told to stop")

// awaitStore is openStore for a node that starts: where machines come up in any
// order it waits for a server that is not there yet.
func awaitStore(ctx context.Context, c *config.Config, log *slog.Logger) (*store.Store, error) {
	end := time.Now().Add(time.Duration(c.Storage.DatabaseWait))
	said := false
	for {
		st, err := openStore(ctx, c)
		if err == nil || !store.IsPostgreSQL(c.Database()) || !store.Away(err) || !time.Now().Before(end) {
			return st, err
		}
		if !said {
			said = true
			log.Warn("the database does not answer: waiting for it", "at_most", time.Duration(c.Storage.DatabaseWait), "error", err)
		}
		select {
		case <-ctx.Done():
			return nil, errStopped
		case <-time.After(time.Second):
		}
	}
}

// elsewhere is why backup and restore leave a database alone.
func elsewhere(c *config.Config) error {
	if !store.IsPostgreSQL(c.Database()) {
		return nil
	}
	return usageError{errors.New(`the database is PostgreSQL's, which has its own ways of backup: take "pg_dump --format=custom" of it first ` +
		`and then copy storage.directory (or what storage.objects names), in this order, so that every file that the dump names is in the copy. ` +
		`To restore, put the files back, "pg_restore --clean --if-exists" the dump, and start the nodes`)}
}
