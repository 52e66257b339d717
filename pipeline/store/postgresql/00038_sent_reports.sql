-- +goose Up
-- The last reports that destinations have of studies that were removed: one that comes again is reported with them as
-- predecessors, if it is of the same patient. UIDs and digests only.
CREATE TABLE sent_reports (
    study_uid  TEXT COLLATE "C" NOT NULL,
    sop_uid    TEXT COLLATE "C" NOT NULL,
    sop_class  TEXT COLLATE "C" NOT NULL,
    series_uid TEXT COLLATE "C" NOT NULL,
    forms      TEXT COLLATE "C" NOT NULL,   -- JSON, the destinations that it was made for; [] is all that have no form of their own
    patient    TEXT COLLATE "C" NOT NULL,
    issuer     TEXT COLLATE "C" NOT NULL,
    family     TEXT COLLATE "C" NOT NULL,
    given      TEXT COLLATE "C" NOT NULL,
    born       TEXT COLLATE "C" NOT NULL,
    sex        TEXT COLLATE "C" NOT NULL,
    removed_at BIGINT NOT NULL,  -- Unix ms
    PRIMARY KEY (study_uid, sop_uid)
);

-- +goose Down
DROP TABLE sent_reports;
