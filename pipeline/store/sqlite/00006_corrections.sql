-- +goose Up
ALTER TABLE instances ADD COLUMN corrections INTEGER NOT NULL DEFAULT 0; -- times that its attributes were replaced

-- Objects that were refused because another picture is stored under their UID.
CREATE TABLE conflicts (
    sop_uid   TEXT PRIMARY KEY REFERENCES instances (sop_uid) ON DELETE CASCADE,
    count     INTEGER NOT NULL,
    last_at   INTEGER NOT NULL,  -- Unix ms
    calling_ae TEXT NOT NULL
);

-- +goose Down
DROP TABLE conflicts;
ALTER TABLE instances DROP COLUMN corrections;
