-- +goose Up
-- Three letters after each other, so that a search need not read every row. Where the extension is not there or not
-- allowed a search reads them.
-- +goose StatementBegin
DO $$
BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX worklist_search ON worklist USING gin (search gin_trgm_ops);
EXCEPTION WHEN OTHERS THEN
    RAISE NOTICE 'searching the worklist goes without an index: %', SQLERRM;
END $$;
-- +goose StatementEnd

-- +goose Down
DROP INDEX IF EXISTS worklist_search;
