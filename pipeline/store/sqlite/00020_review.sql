-- +goose Up
-- What the review page lists: one row per study, made from the other tables and
-- the objects by the page's indexer.
CREATE TABLE worklist (
    study_uid    TEXT PRIMARY KEY REFERENCES studies (study_uid) ON DELETE CASCADE,
    patient_name TEXT NOT NULL,
    patient_id   TEXT NOT NULL,
    birth_date   TEXT NOT NULL,     -- YYYYMMDD or empty
    sex          TEXT NOT NULL,
    accession    TEXT NOT NULL,
    description  TEXT NOT NULL,
    study_time   INTEGER NOT NULL,  -- of the examination, Unix ms; of arrival where it is unknown
    state        TEXT NOT NULL,
    revision     INTEGER NOT NULL,
    objects      INTEGER NOT NULL,
    ef           REAL,              -- per cent; null when not measured
    ef_method    TEXT NOT NULL,
    ef_grade     TEXT NOT NULL,
    flags        INTEGER NOT NULL,  -- see store.Flags
    verdict      TEXT NOT NULL,     -- of the latest review of this revision
    search       TEXT NOT NULL      -- lower case: name, patient ID, accession number, study UID
);
CREATE INDEX worklist_time ON worklist (study_time DESC, study_uid);
CREATE INDEX worklist_name ON worklist (patient_name, study_uid);
CREATE INDEX worklist_ef ON worklist (ef, study_uid);
CREATE INDEX worklist_accession ON worklist (accession);

-- Studies whose row is out of date; n tells a change during the update.
CREATE TABLE worklist_changes (
    study_uid TEXT PRIMARY KEY,
    n         INTEGER NOT NULL DEFAULT 0
);
INSERT INTO worklist_changes (study_uid) SELECT study_uid FROM studies;

-- +goose StatementBegin
CREATE TRIGGER worklist_study_insert AFTER INSERT ON studies BEGIN
    INSERT INTO worklist_changes (study_uid) VALUES (NEW.study_uid) ON CONFLICT (study_uid) DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER worklist_study_update AFTER UPDATE ON studies BEGIN
    INSERT INTO worklist_changes (study_uid) VALUES (NEW.study_uid) ON CONFLICT (study_uid) DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER worklist_delivery_update AFTER UPDATE OF state ON deliveries WHEN OLD.state <> NEW.state BEGIN
    INSERT INTO worklist_changes (study_uid) SELECT study_uid FROM runs WHERE id = NEW.run_id
        ON CONFLICT (study_uid) DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd
-- A study that was never listed leaves nothing behind.
-- +goose StatementBegin
CREATE TRIGGER worklist_study_delete BEFORE DELETE ON studies BEGIN
    DELETE FROM worklist_changes WHERE study_uid = OLD.study_uid;
    INSERT INTO worklist_changes (study_uid) SELECT OLD.study_uid WHERE EXISTS (SELECT 1 FROM worklist WHERE study_uid = OLD.study_uid);
END;
-- +goose StatementEnd

CREATE INDEX deliveries_dead ON deliveries (run_id) WHERE state = 'dead';

-- Who did what on the review page. Rows outlive their study.
CREATE TABLE audit (
    id        INTEGER PRIMARY KEY,
    at        INTEGER NOT NULL,  -- Unix ms
    user      TEXT NOT NULL,
    address   TEXT NOT NULL,
    action    TEXT NOT NULL,
    study_uid TEXT NOT NULL,
    detail    TEXT NOT NULL,
    failed    INTEGER NOT NULL
);
CREATE INDEX audit_study ON audit (study_uid, id);

-- +goose Down
DROP TABLE audit;
DROP INDEX deliveries_dead;
DROP TRIGGER worklist_study_delete;
DROP TRIGGER worklist_delivery_update;
DROP TRIGGER worklist_study_update;
DROP TRIGGER worklist_study_insert;
DROP TABLE worklist_changes;
DROP TABLE worklist;
