package store

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// listedChannel is where the processes tell each other which studies' listings
// they have written: the change itself is used up by the one that lists it.
const listedChannel = "echonode_listed"

// tellListed tells the other processes of a study when the transaction commits.
func (s *Store) tellListed(ctx context.Context, tx *Tx, study string) error {
	if !s.Shared() {
		return nil
	}
	_, err := tx.ExecContext(ctx, `SELECT pg_notify(?, ?)`, listedChannel, s.owner()+" "+study)
	return err
}

// FollowListed calls listed with each study that another process lists, until ctx
// or the connection ends; started once it hears. For stores that are Shared.
func (s *Store) FollowListed(ctx context.Context, started func(), listed func(study string)) error {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return fmt.Errorf("listen for listed studies: %w", err)
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // it only listened
	}()
	if _, err := conn.Exec(ctx, `LISTEN `+listedChannel); err != nil {
		return fmt.Errorf("listen for listed studies: %w", err)
	}
	started()
	for {
		waiting, cancel := context.WithTimeout(ctx, listenFor)
		n, err := conn.WaitForNotification(waiting)
		timeout := waiting.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case err == nil:
			if from, study, ok := strings.Cut(n.Payload, " "); ok && from != s.owner() {
				listed(study)
			}
		case timeout:
			// A server that is gone without a word is found out by asking.
			asking, cancel := context.WithTimeout(ctx, postgresTimeout)
			err := conn.Ping(asking)
			cancel()
			if err != nil {
				return fmt.Errorf("listen for listed studies: %w", err)
			}
		default:
			return fmt.Errorf("listen for listed studies: %w", err)
		}
	}
}

// listenFor is how long nothing is heard until the server is asked whether it is
// there.
const listenFor = 30 * time.Second
