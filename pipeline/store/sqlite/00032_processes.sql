-- +goose Up
-- Processes that work with the database, and what each of them holds.
CREATE TABLE processes (
    id         TEXT PRIMARY KEY,
    seat       TEXT NOT NULL,        -- what only one process uses at a time
    host       TEXT NOT NULL,
    roles      TEXT NOT NULL,
    version    TEXT NOT NULL,
    started_at INTEGER NOT NULL,        -- Unix ms
    beats      INTEGER NOT NULL DEFAULT 0  -- counts on while the process lives
);
CREATE TABLE holds (
    name    TEXT PRIMARY KEY,  -- for example the queue of a destination
    process TEXT NOT NULL
);
-- Associations that are open, and the study that each sends for.
CREATE TABLE associations (
    process   TEXT NOT NULL,
    number    INTEGER NOT NULL,
    study_uid TEXT NOT NULL,
    PRIMARY KEY (process, number)
);
ALTER TABLE loops ADD COLUMN owner TEXT NOT NULL DEFAULT '';    -- the process that works on it
ALTER TABLE runs ADD COLUMN attempt INTEGER NOT NULL DEFAULT 0;    -- only the latest may write
CREATE INDEX loops_working ON loops (study_uid) WHERE state = 'working';

-- +goose Down
DROP INDEX loops_working;
ALTER TABLE runs DROP COLUMN attempt;
ALTER TABLE loops DROP COLUMN owner;
DROP TABLE associations;
DROP TABLE holds;
DROP TABLE processes;
