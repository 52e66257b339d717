-- +goose Up
-- Keys that all processes have to share.
CREATE TABLE keys (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL  -- hexadecimal
);

-- +goose Down
DROP TABLE keys;
