-- +goose Up
-- What an archive was asked to commit to because the answers to a run's objects were lost: its report may come on another
-- association, to another process, and after a restart. At most one question for a run and a destination.
CREATE TABLE commitments (
    run_id          BIGINT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    destination     TEXT COLLATE "C" NOT NULL,
    transaction_uid TEXT COLLATE "C" NOT NULL UNIQUE,
    asked_at        BIGINT NOT NULL,             -- Unix ms
    answered        INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (run_id, destination)
);

-- +goose Down
DROP TABLE commitments;
