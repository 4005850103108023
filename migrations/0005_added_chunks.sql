-- The edit by which a chunk was added. The chunk has an id of its own in every generation; the edit is the same.

ALTER TABLE kb_chunks ADD COLUMN edit_id TEXT;
UPDATE kb_chunks SET edit_id = id WHERE origin = 'added';
