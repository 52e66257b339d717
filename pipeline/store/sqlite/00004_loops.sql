-- +goose Up
-- One row for every object that is analysed: the work that is left is what
-- waits here, so that no queue can lose it.
CREATE TABLE loops (
    sop_uid    TEXT PRIMARY KEY REFERENCES instances (sop_uid) ON DELETE CASCADE,
    study_uid  TEXT NOT NULL REFERENCES studies (study_uid) ON DELETE CASCADE,
    number     INTEGER NOT NULL,              -- order of arrival in the study, from 1
    state      TEXT NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting','working','done','failed')),
    basis      TEXT NOT NULL DEFAULT '',      -- what the result depends on beside the object
    result     TEXT NOT NULL DEFAULT '',      -- key of the kept result
    problem    TEXT NOT NULL DEFAULT '',      -- why the result may come out better another time
    attempts   INTEGER NOT NULL DEFAULT 0,    -- that ended with an error
    deaths     INTEGER NOT NULL DEFAULT 0,    -- of the process while it worked on the loop
    token      INTEGER NOT NULL DEFAULT 0,    -- counts leases: only the latest may write
    not_before INTEGER NOT NULL DEFAULT 0     -- Unix ms
);
CREATE UNIQUE INDEX loops_number ON loops (study_uid, number);
CREATE INDEX loops_left ON loops (study_uid, number) WHERE state IN ('waiting','working');
CREATE INDEX loops_deaths ON loops (sop_uid) WHERE deaths > 0 AND state = 'waiting';

INSERT INTO loops (sop_uid, study_uid, number)
SELECT sop_uid, study_uid, row_number() OVER (PARTITION BY study_uid ORDER BY received_at, sop_uid)
FROM instances WHERE sop_class LIKE '1.2.840.10008.5.1.4.1.1.3%' OR sop_class LIKE '1.2.840.10008.5.1.4.1.1.6%' OR sop_class LIKE '1.2.840.10008.5.1.4.1.1.7%';

ALTER TABLE studies ADD COLUMN served INTEGER NOT NULL DEFAULT 0;  -- counts leases: who was served longest ago is next
CREATE INDEX studies_served ON studies (served);
ALTER TABLE runs ADD COLUMN basis TEXT NOT NULL DEFAULT '';        -- what the outputs depend on

-- +goose Down
ALTER TABLE runs DROP COLUMN basis;
DROP INDEX studies_served;
ALTER TABLE studies DROP COLUMN served;
DROP TABLE loops;
