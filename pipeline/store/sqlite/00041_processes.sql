-- +goose Up
-- What a process goes by that all have to agree on, JSON; empty for programs of before.
ALTER TABLE processes ADD COLUMN settings TEXT NOT NULL DEFAULT '';
-- When something last looked after what is to be removed, and how long nothing is removed from then on: a start finds out
-- from it that the clock is not what it was.
CREATE TABLE clock (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    at   INTEGER NOT NULL,  -- Unix ms
    rest INTEGER NOT NULL   -- ms
);

-- +goose Down
DROP TABLE clock;
ALTER TABLE processes DROP COLUMN settings;
