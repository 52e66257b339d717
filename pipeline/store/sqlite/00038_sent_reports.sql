-- +goose Up
-- The last reports that destinations have of studies that were removed: one that comes again is reported with them as
-- predecessors, if it is of the same patient. UIDs and digests only.
CREATE TABLE sent_reports (
    study_uid  TEXT NOT NULL,
    sop_uid    TEXT NOT NULL,
    sop_class  TEXT NOT NULL,
    series_uid TEXT NOT NULL,
    forms      TEXT NOT NULL,   -- JSON, the destinations that it was made for; [] is all that have no form of their own
    patient    TEXT NOT NULL,
    issuer     TEXT NOT NULL,
    family     TEXT NOT NULL,
    given      TEXT NOT NULL,
    born       TEXT NOT NULL,
    sex        TEXT NOT NULL,
    removed_at INTEGER NOT NULL,  -- Unix ms
    PRIMARY KEY (study_uid, sop_uid)
);

-- +goose Down
DROP TABLE sent_reports;
