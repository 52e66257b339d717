-- +goose Up
-- Whose turn it is: who was served longest ago is next.
CREATE TABLE senders (
    sender TEXT PRIMARY KEY,
    served INTEGER NOT NULL  -- counts leases
);
ALTER TABLE studies ADD COLUMN sender TEXT NOT NULL DEFAULT ''; -- address that the first object came from

-- +goose Down
ALTER TABLE studies DROP COLUMN sender;
DROP TABLE senders;
