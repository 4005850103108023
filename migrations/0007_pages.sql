-- The last page with text, where the format has pages; known once the file is parsed.

ALTER TABLE kb_documents ADD COLUMN pages BIGINT;
