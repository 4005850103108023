-- How much a tenant may have; NULL: as much as it wants.
ALTER TABLE tenants ADD COLUMN quota_documents BIGINT;
-- Bytes of the files of its documents.
ALTER TABLE tenants ADD COLUMN quota_bytes BIGINT;
ALTER TABLE tenants ADD COLUMN quota_chunks BIGINT;
-- Requests per minute, of all its callers together.
ALTER TABLE tenants ADD COLUMN quota_requests BIGINT;
-- Tokens of language models per calendar month in UTC.
ALTER TABLE tenants ADD COLUMN quota_tokens BIGINT;

-- Tokens of language models that a tenant has used in a month, written 2026-11.
CREATE TABLE token_usage (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    month TEXT NOT NULL,
    tokens BIGINT NOT NULL,
    PRIMARY KEY (tenant_id, month)
);

-- Counts the documents of a tenant without reading them.
CREATE INDEX kb_documents_tenant ON kb_documents (tenant_id, size_bytes, chunks_count);
