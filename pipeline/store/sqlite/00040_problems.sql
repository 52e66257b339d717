-- +goose Up
-- Few results have a problem, and health counts them.
CREATE INDEX loops_problems ON loops (sop_uid) WHERE problem <> '';

-- +goose Down
DROP INDEX loops_problems;
