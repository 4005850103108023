-- Generations: one choice of model and chunking of a dataset. Each has its own chunks, log and indexes (a set); one of them is searched.

CREATE TABLE kb_generations (
    -- The dataset's id for the first one, then with the number behind a tilde. Stands for the set in the log and in both indexes.
    set_id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL REFERENCES kb_datasets (id),
    number BIGINT NOT NULL,
    -- building, live, previous
    status TEXT NOT NULL,
    embedding_provider TEXT NOT NULL,
    embedding_model TEXT NOT NULL,
    vector_size BIGINT NOT NULL,
    chunk_size BIGINT NOT NULL,
    chunk_overlap BIGINT NOT NULL,
    parse_type TEXT NOT NULL,
    parser_engine TEXT NOT NULL,
    delimiter TEXT NOT NULL,
    -- Last entry of its log.
    log_seq BIGINT NOT NULL,
    created_on BIGINT NOT NULL,
    -- Last time it became, or ceased to be, the one that is searched.
    switched_on BIGINT,
    UNIQUE (dataset_id, number)
);
INSERT INTO kb_generations (set_id, tenant_id, dataset_id, number, status, embedding_provider, embedding_model, vector_size, chunk_size, chunk_overlap,
    parse_type, parser_engine, delimiter, log_seq, created_on)
    SELECT id, tenant_id, id, generation, 'live', embedding_provider, embedding_model, vector_size, chunk_size, chunk_overlap,
    parse_type, parser_engine, delimiter, log_seq, created_on FROM kb_datasets;
ALTER TABLE kb_datasets DROP COLUMN log_seq;
-- The set that is searched.
ALTER TABLE kb_datasets ADD COLUMN live_set TEXT NOT NULL DEFAULT '';
UPDATE kb_datasets SET live_set = id;

ALTER TABLE kb_chunks ADD COLUMN set_id TEXT NOT NULL DEFAULT '';
UPDATE kb_chunks SET set_id = dataset_id;
CREATE INDEX kb_chunks_set ON kb_chunks (set_id, id);
DROP INDEX kb_chunks_dataset;
DROP INDEX kb_chunks_document;
CREATE INDEX kb_chunks_document ON kb_chunks (document_id, set_id, ordinal);

-- Which version of a document a set that is not searched has.
CREATE TABLE kb_generation_documents (
    document_id TEXT NOT NULL REFERENCES kb_documents (id),
    set_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    blob_hash TEXT NOT NULL,
    chunks BIGINT NOT NULL,
    error_code TEXT,
    error_message TEXT,
    PRIMARY KEY (document_id, set_id)
);
