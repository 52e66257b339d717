-- +goose Up
-- One row, written to find out whether the database can be written.
CREATE TABLE probes (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    at INTEGER NOT NULL
);
-- One destination's share of what is left to deliver.
CREATE INDEX deliveries_state ON deliveries (state, destination);

-- +goose Down
DROP INDEX deliveries_state;
DROP TABLE probes;
