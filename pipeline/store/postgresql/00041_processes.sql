-- +goose Up
-- What a process goes by that all have to agree on, JSON; empty for programs of before.
ALTER TABLE processes ADD COLUMN settings TEXT COLLATE "C" NOT NULL DEFAULT '';
-- When something last looked after what is to be removed, and how long nothing is removed from then on: a start finds out
-- from it that the clock is not what it was.
CREATE TABLE clock (
    id   BIGINT PRIMARY KEY CHECK (id = 1),
    at   BIGINT NOT NULL,  -- Unix ms
    rest BIGINT NOT NULL   -- ms
);

-- +goose Down
DROP TABLE clock;
ALTER TABLE processes DROP COLUMN settings;
