-- +goose Up
-- What readers signed; the run holds the result and what was made of it.
CREATE TABLE reviews (
    run_id       INTEGER PRIMARY KEY REFERENCES runs (id) ON DELETE CASCADE,
    verdict      TEXT NOT NULL CHECK (verdict IN ('accepted','corrected','rejected')),
    user         TEXT NOT NULL,
    name         TEXT NOT NULL,
    organisation TEXT NOT NULL,
    comment      TEXT NOT NULL,
    corrections  TEXT NOT NULL,     -- JSON, package correct
    signed_at    INTEGER NOT NULL   -- Unix ms
);

-- +goose Down
DROP TABLE reviews;
