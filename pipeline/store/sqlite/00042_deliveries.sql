-- +goose Up
-- A study that has no dead delivery any more, since those were dropped or redirected, is no longer marked.
-- +goose StatementBegin
CREATE TRIGGER worklist_delivery_delete AFTER DELETE ON deliveries WHEN OLD.state = 'dead' BEGIN
    INSERT INTO worklist_changes (study_uid) SELECT study_uid FROM runs WHERE id = OLD.run_id
        ON CONFLICT (study_uid) DO UPDATE SET n = n + 1;
END;
-- +goose StatementEnd
-- Those that are marked (16, see Flags) may be so without a reason.
INSERT INTO worklist_changes (study_uid) SELECT study_uid FROM worklist WHERE flags & 16 <> 0
    ON CONFLICT (study_uid) DO UPDATE SET n = n + 1;

-- +goose Down
DROP TRIGGER worklist_delivery_delete;
