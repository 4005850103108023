-- Version of the dataset in which the visibility of a document, or a field that filters refer to, last changed. Searches keep these in memory and read
-- only the documents that changed since.
ALTER TABLE kb_documents ADD COLUMN changed_version BIGINT NOT NULL DEFAULT 0;
CREATE INDEX kb_documents_changed ON kb_documents (dataset_id, changed_version);
