-- +goose Up
-- Few results have a problem, and health counts them.
CREATE INDEX loops_problems ON loops (problem) WHERE problem <> '';

-- +goose Down
DROP INDEX loops_problems;
