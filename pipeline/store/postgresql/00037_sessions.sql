-- +goose Up
-- Who is signed in at the review page, on whichever process. Only hashes of tokens are kept.
CREATE TABLE sessions (
    token   TEXT COLLATE "C" PRIMARY KEY,  -- SHA-256, hexadecimal
    account TEXT COLLATE "C" NOT NULL,     -- user name
    profile TEXT COLLATE "C" NOT NULL,     -- JSON: what an OpenID provider said of the account; empty for one of the file
    mark    TEXT COLLATE "C" NOT NULL,     -- changes with the account's password
    csrf    TEXT COLLATE "C" NOT NULL,
    created BIGINT NOT NULL,  -- Unix ms
    seen    BIGINT NOT NULL   -- Unix ms
);
CREATE INDEX sessions_account ON sessions (account);
-- Failed sign-ins, by address and by a hash of the name: when all attempts are available again.
CREATE TABLE attempts (
    subject  TEXT COLLATE "C" PRIMARY KEY,
    free_at  BIGINT NOT NULL  -- Unix ms
);

-- +goose Down
DROP TABLE attempts;
DROP TABLE sessions;
