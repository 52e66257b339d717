-- +goose Up
-- Digests of who an object says it is of; '' where it does not say, NULL for
-- objects received before this was recorded.
ALTER TABLE instances ADD COLUMN patient TEXT;
ALTER TABLE instances ADD COLUMN issuer  TEXT;

-- Files whose records are gone and that are still to be deleted. An object that
-- comes again takes its file back.
CREATE TABLE removals (
    path    TEXT PRIMARY KEY,
    sop_uid TEXT NOT NULL
);

-- +goose Down
DROP TABLE removals;
ALTER TABLE instances DROP COLUMN issuer;
ALTER TABLE instances DROP COLUMN patient;
