-- +goose Up
CREATE TABLE studies (
    study_uid         TEXT PRIMARY KEY,
    state             TEXT NOT NULL CHECK (state IN ('receiving','queued','analysing','done','failed')),
    revision          INTEGER NOT NULL DEFAULT 0,
    first_received_at INTEGER NOT NULL,  -- of the current round, Unix ms
    last_received_at  INTEGER NOT NULL,  -- Unix ms
    error             TEXT NOT NULL DEFAULT ''
);
CREATE INDEX studies_state ON studies (state);

CREATE TABLE instances (
    sop_uid         TEXT PRIMARY KEY,
    study_uid       TEXT NOT NULL REFERENCES studies (study_uid) ON DELETE CASCADE,
    series_uid      TEXT NOT NULL,
    sop_class       TEXT NOT NULL,
    transfer_syntax TEXT NOT NULL,
    path            TEXT NOT NULL,
    size            INTEGER NOT NULL,
    calling_ae      TEXT NOT NULL,
    received_at     INTEGER NOT NULL
);
CREATE INDEX instances_study ON instances (study_uid);

CREATE TABLE runs (
    id          INTEGER PRIMARY KEY,
    study_uid   TEXT NOT NULL REFERENCES studies (study_uid) ON DELETE CASCADE,
    revision    INTEGER NOT NULL,
    started_at  INTEGER NOT NULL,
    finished_at INTEGER,
    error       TEXT NOT NULL DEFAULT '',
    directory   TEXT NOT NULL DEFAULT '',
    summary     TEXT NOT NULL DEFAULT '',
    UNIQUE (study_uid, revision)
);

CREATE TABLE outputs (
    sop_uid   TEXT PRIMARY KEY,
    run_id    INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    kind      TEXT NOT NULL,
    sop_class TEXT NOT NULL,
    path      TEXT NOT NULL
);
CREATE INDEX outputs_run ON outputs (run_id);

CREATE TABLE deliveries (
    run_id      INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    sop_uid     TEXT NOT NULL REFERENCES outputs (sop_uid) ON DELETE CASCADE,
    destination TEXT NOT NULL,
    state       TEXT NOT NULL CHECK (state IN ('pending','sent','warning','dead')),
    attempts    INTEGER NOT NULL DEFAULT 0,
    status      INTEGER,                    -- DIMSE status of the last answer
    comment     TEXT NOT NULL DEFAULT '',   -- the peer's Error Comment, verbatim
    error       TEXT NOT NULL DEFAULT '',
    updated_at  INTEGER NOT NULL,
    PRIMARY KEY (sop_uid, destination)
);
CREATE INDEX deliveries_run ON deliveries (run_id, destination);

-- +goose Down
DROP TABLE deliveries;
DROP TABLE outputs;
DROP TABLE runs;
DROP TABLE instances;
DROP TABLE studies;
