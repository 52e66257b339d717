-- +goose Up
-- A study that has no dead delivery any more, since those were dropped or redirected, is no longer marked.
-- +goose StatementBegin
CREATE FUNCTION worklist_delivery_removed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO worklist_changes (study_uid) SELECT study_uid FROM runs WHERE id = OLD.run_id
        ON CONFLICT (study_uid) DO UPDATE SET n = worklist_changes.n + 1;
    RETURN NULL;
END $$;
-- +goose StatementEnd
CREATE TRIGGER worklist_delivery_removal AFTER DELETE ON deliveries FOR EACH ROW WHEN (OLD.state = 'dead')
    EXECUTE FUNCTION worklist_delivery_removed();
-- Those that are marked (16, see Flags) may be so without a reason.
INSERT INTO worklist_changes (study_uid) SELECT study_uid FROM worklist WHERE flags & 16 <> 0
    ON CONFLICT (study_uid) DO UPDATE SET n = worklist_changes.n + 1;

-- +goose Down
DROP TRIGGER worklist_delivery_removal ON deliveries;
DROP FUNCTION worklist_delivery_removed;
