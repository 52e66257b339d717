-- +goose Up
-- Who is signed in at the review page, on whichever process. Only hashes of tokens are kept.
CREATE TABLE sessions (
    token   TEXT PRIMARY KEY,  -- SHA-256, hexadecimal
    account TEXT NOT NULL,     -- user name
    profile TEXT NOT NULL,     -- JSON: what an OpenID provider said of the account; empty for one of the file
    mark    TEXT NOT NULL,     -- changes with the account's password
    csrf    TEXT NOT NULL,
    created INTEGER NOT NULL,  -- Unix ms
    seen    INTEGER NOT NULL   -- Unix ms
);
CREATE INDEX sessions_account ON sessions (account);
-- Failed sign-ins, by address and by a hash of the name: when all attempts are available again.
CREATE TABLE attempts (
    subject  TEXT PRIMARY KEY,
    free_at  INTEGER NOT NULL  -- Unix ms
);

-- +goose Down
DROP TABLE attempts;
DROP TABLE sessions;
