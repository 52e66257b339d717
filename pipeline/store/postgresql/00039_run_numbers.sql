-- +goose Up
-- Nothing to do: a sequence gives no number of a run twice.
SELECT 1;

-- +goose Down
SELECT 1;
