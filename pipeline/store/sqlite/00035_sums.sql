-- +goose Up
-- Checksums of what was received, each with a sign of the path that it is of: a program of before that works beside this
-- one records another version without it. Empty for rows of before.
ALTER TABLE instances ADD COLUMN sum TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE instances DROP COLUMN sum;
