-- Tenants, keys, jobs, events: what every area stands on.

CREATE TABLE counters (
    name TEXT PRIMARY KEY,
    value BIGINT NOT NULL
);

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    created_on BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    -- SHA-256 of the secret. Keys are 256 random bits, so a slow password hash would add nothing.
    hash TEXT NOT NULL UNIQUE,
    -- First characters of the key, for people to tell keys apart.
    hint TEXT NOT NULL,
    -- JSON array of scopes.
    scopes TEXT NOT NULL,
    -- JSON array of dataset ids the key is confined to; NULL: all of the tenant.
    dataset_ids TEXT,
    expires_on BIGINT,
    -- Requests per minute; NULL: the configured default.
    rate_per_minute BIGINT,
    last_used_on BIGINT,
    revoked_on BIGINT,
    created_on BIGINT NOT NULL
);
CREATE INDEX api_keys_tenant ON api_keys (tenant_id, id);

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    -- At most one unfinished job per key.
    dedupe_key TEXT,
    -- queued, running, done, dead, cancelled
    status TEXT NOT NULL,
    -- Attempts begun since the last progress; those that neither failed nor finished were interrupted.
    attempts BIGINT NOT NULL,
    -- Attempts that failed with an error.
    failures BIGINT NOT NULL,
    -- Failures allowed; interruptions are allowed three times as often.
    max_attempts BIGINT NOT NULL,
    run_at BIGINT NOT NULL,
    -- A running job whose lease has passed belongs to whoever claims it next.
    lease_until BIGINT,
    lease_owner TEXT,
    cancel_requested BOOLEAN NOT NULL,
    -- Cause of the last failed attempt.
    last_error TEXT,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL
);
CREATE INDEX jobs_due ON jobs (status, run_at, id);
CREATE INDEX jobs_tenant ON jobs (tenant_id, id);
CREATE UNIQUE INDEX jobs_dedupe ON jobs (dedupe_key) WHERE status IN ('queued', 'running');

CREATE TABLE job_schedules (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    -- Five-field cron expression in UTC.
    cron TEXT NOT NULL,
    next_run BIGINT NOT NULL,
    enabled BOOLEAN NOT NULL,
    UNIQUE (tenant_id, kind, payload)
);

CREATE TABLE events (
    seq BIGINT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- Dataset the event is about, so that confined keys see only theirs.
    dataset_id TEXT,
    topic TEXT NOT NULL,
    payload TEXT NOT NULL,
    created_on BIGINT NOT NULL
);
CREATE INDEX events_tenant ON events (tenant_id, seq);
