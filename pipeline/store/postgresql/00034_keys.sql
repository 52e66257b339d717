-- +goose Up
-- Keys that all processes have to share.
CREATE TABLE keys (
    name  TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL  -- hexadecimal
);

-- +goose Down
DROP TABLE keys;
