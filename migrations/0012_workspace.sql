-- The workspace (CRM, support, content, integrations): its things are records, too. These tables find them, and keep what happened to them.

CREATE INDEX records_listed ON records (kind, tenant_id, id);

-- What lists filter by: a row for each value of a field that can be asked for, and for each word. Lists read it in the order of ids.
CREATE TABLE record_facets (
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    value TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    record_id TEXT NOT NULL,
    PRIMARY KEY (kind, name, value, tenant_id, record_id)
);

-- Words that records of a kind have had, in hexadecimal, to find those that begin with some letters.
CREATE TABLE record_words (
    kind TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    word TEXT NOT NULL,
    PRIMARY KEY (kind, tenant_id, word)
);

-- Values that only one record of a kind has: keys, slugs, numbers.
CREATE TABLE record_keys (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    record_id TEXT NOT NULL,
    PRIMARY KEY (kind, key, tenant_id)
);

-- Writes that were done under a key, with their answers.
CREATE TABLE idempotency_keys (
    operation TEXT NOT NULL,
    key TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    -- SHA-256 of path and body.
    request_hash TEXT NOT NULL,
    status BIGINT NOT NULL,
    answer TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    PRIMARY KEY (operation, key, tenant_id)
);
CREATE INDEX idempotency_keys_age ON idempotency_keys (created_on);

-- Who changed what.
CREATE TABLE audit_events (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    entity_kind TEXT NOT NULL,
    entity_id TEXT NOT NULL,
    -- create, update
    action TEXT NOT NULL,
    -- The key; absent for the service itself.
    actor TEXT,
    -- Which operation asked for it, under which request.
    operation TEXT NOT NULL,
    request_id TEXT NOT NULL,
    -- JSON object: field to [before, after].
    changes TEXT NOT NULL,
    created_on BIGINT NOT NULL
);
CREATE INDEX audit_events_entity ON audit_events (entity_id, id);

-- Events on their way to an endpoint: written in the transaction that causes them.
CREATE TABLE webhook_deliveries (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    endpoint_id TEXT NOT NULL,
    -- The same at every attempt, and for every endpoint: receivers know by it what they have seen.
    event_id TEXT NOT NULL,
    event_type TEXT NOT NULL,
    payload TEXT NOT NULL,
    -- pending, retrying, succeeded, failed
    status TEXT NOT NULL,
    attempt_count BIGINT NOT NULL,
    next_attempt_on BIGINT,
    response_status BIGINT,
    last_error TEXT,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL
);
CREATE INDEX webhook_deliveries_endpoint ON webhook_deliveries (endpoint_id, id);

-- What endpoints sign with, and since when they have failed.
CREATE TABLE webhook_endpoints (
    endpoint_id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    secret TEXT NOT NULL,
    failing_since BIGINT
);

-- Bytes that belong to records: assets, exports.
CREATE TABLE record_files (
    record_id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    hash TEXT NOT NULL,
    size_bytes BIGINT NOT NULL,
    created_on BIGINT NOT NULL
);
CREATE INDEX record_files_hash ON record_files (hash);

-- What this installation signs its own addresses with.
CREATE TABLE signing_keys (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
);
