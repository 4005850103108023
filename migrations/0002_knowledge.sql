-- Datasets, documents, chunks, embeddings, and the log from which both indexes are derived.

CREATE TABLE kb_datasets (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    description TEXT,
    -- Keyword analysis: a two-letter code with stop words and a stemmer, or 'none'.
    language TEXT NOT NULL,
    embedding_provider TEXT NOT NULL,
    embedding_model TEXT NOT NULL,
    vector_size BIGINT NOT NULL,
    chunk_size BIGINT NOT NULL,
    chunk_overlap BIGINT NOT NULL,
    parse_type TEXT NOT NULL,
    parser_engine TEXT NOT NULL,
    -- Where MANUAL cuts.
    delimiter TEXT NOT NULL,
    -- JSON array; empty: every role.
    allowed_agent_roles TEXT NOT NULL,
    -- One choice of model and chunking; part of the index layout.
    generation BIGINT NOT NULL,
    -- Last entry of the index log.
    log_seq BIGINT NOT NULL,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL,
    UNIQUE (tenant_id, name)
);

CREATE TABLE kb_blobs (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- SHA-256 of the content in hex.
    hash TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    -- Last time somebody stored these bytes; young blobs are never collected.
    touched_on BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, hash)
);

CREATE TABLE kb_documents (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL REFERENCES kb_datasets (id),
    file_name TEXT NOT NULL,
    title TEXT,
    mime_type TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    -- Source bytes.
    blob_hash TEXT NOT NULL,
    -- Normalised text of the last successful parse.
    text_hash TEXT,
    url TEXT,
    published_at TEXT,
    -- upload, website_crawl, published_content, competitor_research
    source TEXT NOT NULL,
    -- pending, parsing, embedding, stored, indexed, error. 'stored': complete in SQL, the indexes are catching up.
    status TEXT NOT NULL,
    enabled BOOLEAN NOT NULL,
    error_code TEXT,
    error_message TEXT,
    -- User's JSON object, filterable in search.
    metadata TEXT NOT NULL,
    -- Overrides of the dataset's settings; NULL: as the dataset says.
    chunk_size BIGINT,
    chunk_overlap BIGINT,
    parse_type TEXT,
    parser_engine TEXT,
    -- Engine that read the file, and JSON array of sentences about what was left out.
    engine TEXT,
    warnings TEXT NOT NULL,
    chunks_count BIGINT NOT NULL,
    -- Of the running ingestion: chunks to embed and chunks embedded.
    chunks_total BIGINT NOT NULL,
    chunks_embedded BIGINT NOT NULL,
    -- The document is in both indexes once they have applied this entry of the log.
    ready_seq BIGINT NOT NULL,
    job_id TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL
);
CREATE INDEX kb_documents_dataset ON kb_documents (dataset_id, id);
CREATE INDEX kb_documents_status ON kb_documents (dataset_id, status, ready_seq);
CREATE INDEX kb_documents_blob ON kb_documents (blob_hash);
CREATE INDEX kb_documents_text ON kb_documents (text_hash);

CREATE TABLE kb_chunks (
    -- UUID from document, text and occurrence: an unchanged chunk keeps its id, and it is the point id in the vector index.
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL REFERENCES kb_datasets (id),
    document_id TEXT NOT NULL REFERENCES kb_documents (id),
    ordinal BIGINT NOT NULL,
    -- normalised_text[start_byte..end_byte] = content; the same range in characters beside it.
    start_byte BIGINT NOT NULL,
    end_byte BIGINT NOT NULL,
    start_char BIGINT NOT NULL,
    end_char BIGINT NOT NULL,
    content TEXT NOT NULL,
    -- Title and headings that are embedded and indexed with the content, but not shown.
    context TEXT NOT NULL,
    -- JSON array, outermost first.
    heading_path TEXT NOT NULL,
    page BIGINT,
    -- Tokens of context and content as the model counts them; above its limit the end is not in the vector.
    tokens BIGINT NOT NULL,
    truncated BOOLEAN NOT NULL,
    -- SHA-256 of context and content: the key of its embedding.
    text_hash TEXT NOT NULL
);
CREATE INDEX kb_chunks_document ON kb_chunks (document_id, ordinal);
CREATE INDEX kb_chunks_dataset ON kb_chunks (dataset_id, id);
CREATE INDEX kb_chunks_text ON kb_chunks (text_hash);

CREATE TABLE kb_embeddings (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    model TEXT NOT NULL,
    text_hash TEXT NOT NULL,
    -- Little-endian f32, unit length.
    vector BYTEA NOT NULL,
    created_on BIGINT NOT NULL,
    -- The hash comes first, see README.
    PRIMARY KEY (text_hash, model, tenant_id)
);

CREATE TABLE kb_index_log (
    dataset_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    -- text: the chunk can be found by words; vector: its embedding is there; delete: the chunk is gone or hidden.
    op TEXT NOT NULL,
    chunk_id TEXT NOT NULL,
    PRIMARY KEY (dataset_id, seq)
);

-- How far a shared vector index (a Qdrant server) has applied the log. Local indexes keep their own watermark beside their data.
CREATE TABLE kb_watermarks (
    store TEXT NOT NULL,
    dataset_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    PRIMARY KEY (store, dataset_id)
);
