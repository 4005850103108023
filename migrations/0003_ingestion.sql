-- Evidence of chunks, edits by hand, versions and parts of documents, fairness between datasets.

ALTER TABLE kb_documents ADD COLUMN external_id TEXT;
-- The archive or message that holds it, and how deep it is in there.
ALTER TABLE kb_documents ADD COLUMN parent_id TEXT;
ALTER TABLE kb_documents ADD COLUMN depth BIGINT NOT NULL DEFAULT 0;
-- Counts the times that other bytes took its place.
ALTER TABLE kb_documents ADD COLUMN version BIGINT NOT NULL DEFAULT 1;
-- JSON array: other names under which the same bytes were uploaded.
ALTER TABLE kb_documents ADD COLUMN aliases TEXT NOT NULL DEFAULT '[]';
-- When the running ingestion began to embed, for estimates.
ALTER TABLE kb_documents ADD COLUMN embedding_since BIGINT;
CREATE INDEX kb_documents_name ON kb_documents (dataset_id, file_name);
CREATE INDEX kb_documents_external ON kb_documents (dataset_id, external_id);
CREATE INDEX kb_documents_parent ON kb_documents (parent_id);

ALTER TABLE kb_chunks ADD COLUMN page_label TEXT;
-- Position of the table in the document, and its rows in the chunk, all from 1.
ALTER TABLE kb_chunks ADD COLUMN table_number BIGINT;
ALTER TABLE kb_chunks ADD COLUMN first_row BIGINT;
ALTER TABLE kb_chunks ADD COLUMN last_row BIGINT;
-- Header row that stands before the chunk and is embedded and indexed with it.
ALTER TABLE kb_chunks ADD COLUMN table_header TEXT;
-- Lines of source code, from 1.
ALTER TABLE kb_chunks ADD COLUMN first_line BIGINT;
ALTER TABLE kb_chunks ADD COLUMN last_line BIGINT;
ALTER TABLE kb_chunks ADD COLUMN enabled BOOLEAN NOT NULL DEFAULT TRUE;
-- parsed, edited, added
ALTER TABLE kb_chunks ADD COLUMN origin TEXT NOT NULL DEFAULT 'parsed';

-- What people changed by hand. It is applied again whenever the document is ingested.
CREATE TABLE kb_chunk_edits (
    -- Of an added chunk, the chunk's own id.
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    document_id TEXT NOT NULL REFERENCES kb_documents (id),
    -- The parsed chunk that was changed: SHA-256 of its content, which of several with that content, and the content itself. NULL: added.
    anchor_hash TEXT,
    occurrence BIGINT NOT NULL,
    anchor_text TEXT,
    -- New content; NULL: as parsed.
    content TEXT,
    enabled BOOLEAN NOT NULL,
    -- Of an added chunk: the ordinal after which it stands.
    after_ordinal BIGINT,
    -- The text that was changed is not in the document any more.
    orphaned BOOLEAN NOT NULL,
    updated_on BIGINT NOT NULL,
    UNIQUE (document_id, anchor_hash, occurrence)
);

-- Jobs of one group (a dataset) take turns with those of others.
ALTER TABLE jobs ADD COLUMN group_id TEXT NOT NULL DEFAULT '';
CREATE INDEX jobs_turns ON jobs (status, tenant_id, group_id, run_at, id);
