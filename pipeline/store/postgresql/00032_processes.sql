-- +goose Up
-- Processes that work with the database, and what each of them holds.
CREATE TABLE processes (
    id         TEXT COLLATE "C" PRIMARY KEY,
    seat       TEXT COLLATE "C" NOT NULL,        -- what only one process uses at a time
    host       TEXT COLLATE "C" NOT NULL,
    roles      TEXT COLLATE "C" NOT NULL,
    version    TEXT COLLATE "C" NOT NULL,
    started_at BIGINT NOT NULL,        -- Unix ms
    beats      BIGINT NOT NULL DEFAULT 0  -- counts on while the process lives
);
CREATE TABLE holds (
    name    TEXT COLLATE "C" PRIMARY KEY,  -- for example the queue of a destination
    process TEXT COLLATE "C" NOT NULL
);
-- Associations that are open, and the study that each sends for.
CREATE TABLE associations (
    process   TEXT COLLATE "C" NOT NULL,
    number    BIGINT NOT NULL,
    study_uid TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (process, number)
);
ALTER TABLE loops ADD COLUMN owner TEXT COLLATE "C" NOT NULL DEFAULT '';    -- the process that works on it
ALTER TABLE runs ADD COLUMN attempt BIGINT NOT NULL DEFAULT 0;    -- only the latest may write

-- +goose Down
ALTER TABLE runs DROP COLUMN attempt;
ALTER TABLE loops DROP COLUMN owner;
DROP TABLE associations;
DROP TABLE holds;
DROP TABLE processes;
