-- Places outside of Cairn that a dataset is kept in step with: folders, buckets, feeds. Websites have tables of their own.
CREATE TABLE kb_sources (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL REFERENCES kb_datasets (id),
    name TEXT NOT NULL,
    -- JSON of the settings, with the kind.
    settings TEXT NOT NULL,
    -- Encrypted password or key; NULL: none.
    secret TEXT,
    -- manual, weekly, monthly, cron
    schedule TEXT NOT NULL,
    -- Five fields in UTC; NULL: manual.
    cron TEXT,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL,
    UNIQUE (dataset_id, name)
);

-- One pass over a source.
CREATE TABLE kb_syncs (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL,
    source_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    -- queued, running, completed, failed, cancelled
    status TEXT NOT NULL,
    items_new BIGINT NOT NULL DEFAULT 0,
    items_changed BIGINT NOT NULL DEFAULT 0,
    items_unchanged BIGINT NOT NULL DEFAULT 0,
    items_skipped BIGINT NOT NULL DEFAULT 0,
    items_failed BIGINT NOT NULL DEFAULT 0,
    items_removed BIGINT NOT NULL DEFAULT 0,
    bytes_received BIGINT NOT NULL DEFAULT 0,
    error_message TEXT,
    started_on BIGINT,
    completed_on BIGINT,
    created_on BIGINT NOT NULL
);
CREATE INDEX kb_syncs_source ON kb_syncs (source_id, id);

-- What a source has, and what became of it in the last sync that saw it.
CREATE TABLE kb_source_items (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    source_id TEXT NOT NULL,
    item_key TEXT NOT NULL,
    -- Changes whenever the item does: a time and a size, an ETag.
    version TEXT NOT NULL,
    document_id TEXT,
    -- new, changed, unchanged, skipped, failed
    verdict TEXT NOT NULL,
    reason TEXT,
    sync_id TEXT NOT NULL,
    changed_on BIGINT NOT NULL,
    PRIMARY KEY (source_id, item_key)
);
