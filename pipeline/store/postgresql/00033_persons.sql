-- +goose Up
-- Digests of given names and the sex: an ID that several persons share does not make them one. NULL where they have not
-- been read: rows of before, and those of a program of before that works beside this one.
ALTER TABLE instances ADD COLUMN given TEXT COLLATE "C";
ALTER TABLE instances ADD COLUMN sex TEXT COLLATE "C";

-- +goose Down
ALTER TABLE instances DROP COLUMN sex;
ALTER TABLE instances DROP COLUMN given;
