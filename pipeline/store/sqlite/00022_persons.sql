-- +goose Up
-- Digests of family name and birth date: where both differ under one Patient ID,
-- the ID is one that several persons share. Unknown of objects from before.
ALTER TABLE instances ADD COLUMN family TEXT NOT NULL DEFAULT '';
ALTER TABLE instances ADD COLUMN born TEXT NOT NULL DEFAULT '';

-- +goose Down
ALTER TABLE instances DROP COLUMN born;
ALTER TABLE instances DROP COLUMN family;
