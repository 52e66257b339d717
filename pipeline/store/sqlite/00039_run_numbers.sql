-- +goose Up
-- A run has a number that no run has had: jobs outlive their run, and SQLite gives the highest number again once its row is
-- gone. Jobs of runs that were removed before this may name numbers beyond those that are here.
CREATE TABLE run_numbers (
    id   INTEGER PRIMARY KEY CHECK (id = 1),
    last INTEGER NOT NULL
);
INSERT INTO run_numbers (id, last) SELECT 1, coalesce(max(id), 0) + 100000 FROM runs;
-- +goose StatementBegin
CREATE TRIGGER run_numbers_last AFTER INSERT ON runs BEGIN
    UPDATE run_numbers SET last = NEW.id WHERE id = 1 AND last < NEW.id;
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER run_numbers_last;
DROP TABLE run_numbers;
