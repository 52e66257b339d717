-- +goose Up
-- Set before an object is sent and cleared with its answer: what is still set
-- when the delivery is taken up again may have arrived.
ALTER TABLE deliveries ADD COLUMN sending INTEGER NOT NULL DEFAULT 0;

-- +goose Down
ALTER TABLE deliveries DROP COLUMN sending;
