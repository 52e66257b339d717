-- +goose Up
-- Three letters after each other, so that a search need not read every row. n names a row: rowids change in a copy.
ALTER TABLE worklist ADD COLUMN n INTEGER;
UPDATE worklist SET n = rowid;
CREATE UNIQUE INDEX worklist_n ON worklist (n);
CREATE VIRTUAL TABLE worklist_letters USING fts5 (search, tokenize = 'trigram', content = '', contentless_delete = 1);
INSERT INTO worklist_letters (rowid, search) SELECT n, search FROM worklist;
-- +goose StatementBegin
CREATE TRIGGER worklist_letters_insert AFTER INSERT ON worklist BEGIN
    UPDATE worklist SET n = (SELECT 1 + coalesce(max(n), 0) FROM worklist) WHERE study_uid = NEW.study_uid;
    INSERT INTO worklist_letters (rowid, search) SELECT n, search FROM worklist WHERE study_uid = NEW.study_uid;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER worklist_letters_update AFTER UPDATE OF search ON worklist WHEN OLD.search <> NEW.search BEGIN
    DELETE FROM worklist_letters WHERE rowid = OLD.n;
    INSERT INTO worklist_letters (rowid, search) VALUES (OLD.n, NEW.search);
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER worklist_letters_delete AFTER DELETE ON worklist BEGIN
    DELETE FROM worklist_letters WHERE rowid = OLD.n;
END;
-- +goose StatementEnd

-- Pages of studies, the last touched first.
CREATE INDEX studies_last ON studies (last_received_at DESC, study_uid DESC);

-- +goose Down
DROP INDEX studies_last;
DROP TRIGGER worklist_letters_delete;
DROP TRIGGER worklist_letters_update;
DROP TRIGGER worklist_letters_insert;
DROP TABLE worklist_letters;
DROP INDEX worklist_n;
ALTER TABLE worklist DROP COLUMN n;
