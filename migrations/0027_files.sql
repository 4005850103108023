-- Files that are uploaded apart from datasets, as the OpenAI-compatible API does: a document made of one has its id as external id.
CREATE TABLE kb_files (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    file_name TEXT NOT NULL,
    mime_type TEXT NOT NULL,
    -- What the client uploaded it for; kept as sent.
    purpose TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    blob_hash TEXT NOT NULL,
    -- Key, member or agent that uploaded it.
    created_by TEXT,
    created_on BIGINT NOT NULL
);
CREATE INDEX kb_files_blob ON kb_files (blob_hash);

-- Files that were added to a dataset together.
CREATE TABLE kb_file_batches (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL,
    -- JSON array of ids of files.
    file_ids TEXT NOT NULL,
    cancelled BOOLEAN NOT NULL,
    created_on BIGINT NOT NULL
);
CREATE INDEX kb_file_batches_dataset ON kb_file_batches (dataset_id);

-- Words that clients attach to a dataset: a JSON object of texts.
ALTER TABLE kb_datasets ADD COLUMN labels TEXT NOT NULL DEFAULT '{}';

-- Position in the event log up to which webhooks were told of the knowledge base.
CREATE TABLE webhook_positions (
    name TEXT PRIMARY KEY,
    seq BIGINT NOT NULL
);
