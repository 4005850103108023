-- Websites that feed a dataset, their crawls, every address a crawl saw, and what is remembered of pages between crawls.

CREATE TABLE kb_sites (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL REFERENCES kb_datasets (id),
    start_url TEXT NOT NULL,
    -- JSON of the settings.
    settings TEXT NOT NULL,
    -- manual, weekly, monthly, cron
    schedule TEXT NOT NULL,
    -- Five fields in UTC; NULL: manual.
    cron TEXT,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL,
    UNIQUE (dataset_id, start_url)
);

CREATE TABLE kb_crawls (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL REFERENCES kb_datasets (id),
    site_id TEXT NOT NULL,
    job_id TEXT NOT NULL,
    -- queued, running, completed, failed, cancelled
    status TEXT NOT NULL,
    -- The settings as they were when it was started.
    settings TEXT NOT NULL,
    scheduled_for BIGINT,
    -- Pages that answered, pages that search finds afterwards, and of those the new, changed and unchanged ones.
    pages_crawled BIGINT NOT NULL DEFAULT 0,
    pages_indexed BIGINT NOT NULL DEFAULT 0,
    pages_new BIGINT NOT NULL DEFAULT 0,
    pages_changed BIGINT NOT NULL DEFAULT 0,
    pages_unchanged BIGINT NOT NULL DEFAULT 0,
    pages_skipped BIGINT NOT NULL DEFAULT 0,
    pages_failed BIGINT NOT NULL DEFAULT 0,
    pages_removed BIGINT NOT NULL DEFAULT 0,
    requests BIGINT NOT NULL DEFAULT 0,
    bytes_received BIGINT NOT NULL DEFAULT 0,
    error_message TEXT,
    started_on BIGINT,
    completed_on BIGINT,
    created_on BIGINT NOT NULL
);
CREATE INDEX kb_crawls_dataset ON kb_crawls (dataset_id, id);
CREATE INDEX kb_crawls_site ON kb_crawls (site_id, id);

-- What a crawl has seen: the list of what is still to visit, and the report.
CREATE TABLE kb_crawl_urls (
    crawl_id TEXT NOT NULL,
    url TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    seq BIGINT NOT NULL,
    depth BIGINT NOT NULL,
    -- Redirects on the way here.
    hops BIGINT NOT NULL,
    found_on TEXT,
    -- When its sitemap says that it changed.
    modified_on BIGINT,
    -- pending, ingesting, done
    state TEXT NOT NULL,
    -- Visited again although it is a copy, because what it is a copy of could not be had.
    forced BOOLEAN NOT NULL DEFAULT FALSE,
    -- new, changed, unchanged, skipped, failed
    verdict TEXT,
    code TEXT,
    reason TEXT,
    -- Of a copy: what it is a copy of. Of a moved page: where it is now.
    other_url TEXT,
    http_status BIGINT,
    content_type TEXT,
    bytes BIGINT NOT NULL DEFAULT 0,
    millis BIGINT NOT NULL DEFAULT 0,
    content_hash TEXT,
    document_id TEXT,
    PRIMARY KEY (crawl_id, url)
);
CREATE INDEX kb_crawl_urls_seq ON kb_crawl_urls (crawl_id, seq);
CREATE INDEX kb_crawl_urls_state ON kb_crawl_urls (crawl_id, state, seq);

CREATE TABLE kb_site_pages (
    site_id TEXT NOT NULL,
    url TEXT NOT NULL,
    tenant_id TEXT NOT NULL,
    document_id TEXT,
    depth BIGINT NOT NULL,
    etag TEXT,
    last_modified TEXT,
    -- SHA-256 of its main text, or of the bytes of a file.
    content_hash TEXT,
    -- The page that it is a copy of; such pages have no document.
    copy_of TEXT,
    -- JSON array: the addresses it links to, as far as they are in scope.
    links TEXT NOT NULL,
    -- Last answer.
    checked_on BIGINT NOT NULL,
    -- Since when it answers that it is gone.
    gone_since BIGINT,
    PRIMARY KEY (site_id, url)
);
CREATE INDEX kb_site_pages_content ON kb_site_pages (site_id, content_hash);
CREATE INDEX kb_site_pages_document ON kb_site_pages (document_id);

-- Crawls wait for the network, not for this machine: they have workers of their own and never keep ingestion waiting.
ALTER TABLE jobs ADD COLUMN lane TEXT NOT NULL DEFAULT 'work';
DROP INDEX jobs_turns;
CREATE INDEX jobs_turns ON jobs (status, lane, tenant_id, group_id, run_at, id);
