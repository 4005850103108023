-- Search as people tune it: defaults of a dataset with their history, queries with labels, runs over them, and what was asked.

-- Raised by every change of what a search of the dataset can answer.
ALTER TABLE kb_datasets ADD COLUMN version BIGINT NOT NULL DEFAULT 0;
-- JSON object: settings of searches that name none.
ALTER TABLE kb_datasets ADD COLUMN search_defaults TEXT NOT NULL DEFAULT '{}';
-- Whether queries are remembered.
ALTER TABLE kb_datasets ADD COLUMN query_history BOOLEAN NOT NULL DEFAULT TRUE;

-- Every value that the defaults had, oldest first; the last one is in force.
CREATE TABLE kb_search_defaults (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL,
    defaults TEXT NOT NULL,
    -- Why they were set, in words.
    reason TEXT NOT NULL,
    created_on BIGINT NOT NULL
);
CREATE INDEX kb_search_defaults_dataset ON kb_search_defaults (dataset_id, id);

CREATE TABLE kb_query_sets (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL,
    name TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL,
    UNIQUE (dataset_id, name)
);

CREATE TABLE kb_queries (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    query_set_id TEXT NOT NULL REFERENCES kb_query_sets (id),
    text TEXT NOT NULL,
    -- JSON object from document or chunk id to grade 0, 1 or 2. Empty: nothing answers it.
    labels TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    UNIQUE (query_set_id, text)
);

CREATE TABLE kb_eval_runs (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL,
    query_set_id TEXT NOT NULL REFERENCES kb_query_sets (id),
    name TEXT NOT NULL,
    -- JSON: the settings of the searches, with the generation.
    configuration TEXT NOT NULL,
    -- JSON: the means.
    measures TEXT NOT NULL,
    -- JSON array: every query with its measures.
    queries TEXT NOT NULL,
    created_on BIGINT NOT NULL
);
CREATE INDEX kb_eval_runs_set ON kb_eval_runs (query_set_id, id);

CREATE TABLE kb_query_history (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    dataset_id TEXT NOT NULL,
    -- Who asked; not shown with its secret.
    key_id TEXT NOT NULL,
    text TEXT NOT NULL,
    -- JSON: the settings of the search.
    settings TEXT NOT NULL,
    -- JSON array of chunk ids and scores, best first.
    results TEXT NOT NULL,
    hits BIGINT NOT NULL,
    -- Whether the answer was confident.
    confident BOOLEAN NOT NULL,
    milliseconds DOUBLE PRECISION NOT NULL,
    created_on BIGINT NOT NULL
);
CREATE INDEX kb_query_history_dataset ON kb_query_history (dataset_id, id);
CREATE INDEX kb_query_history_time ON kb_query_history (created_on);
