-- What agents keep beside documents: records of many kinds, the messages they send, the rows of their folders, the people they ask for.

-- One table for records whose shape the contract leaves open: article, finding, business_plan, project, work_package, task, campaign, lead, forecast,
-- template, media, folder, agent_task.
CREATE TABLE records (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    -- The record that holds it: the project of a work package, the campaign of a lead.
    parent_id TEXT,
    -- The caller's own id, unique among the records of a kind.
    external_id TEXT,
    title TEXT NOT NULL,
    status TEXT,
    -- JSON object: everything else.
    body TEXT NOT NULL,
    -- The document by which search finds it.
    document_id TEXT,
    -- The key that wrote it.
    author TEXT,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL,
    UNIQUE (kind, external_id, tenant_id)
);
CREATE INDEX records_updated ON records (kind, tenant_id, updated_on, id);
CREATE INDEX records_parent ON records (parent_id, kind, id);

CREATE TABLE data_rows (
    folder_id TEXT NOT NULL,
    -- From 1, in the order of appending.
    seq BIGINT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    id TEXT NOT NULL,
    -- JSON object.
    body TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    PRIMARY KEY (folder_id, seq)
);
CREATE UNIQUE INDEX data_rows_id ON data_rows (id);

CREATE TABLE messages (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- As the sender names them.
    conversation_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    -- agent, user
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    done BOOLEAN NOT NULL,
    author TEXT,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL,
    UNIQUE (conversation_id, message_id, tenant_id)
);
CREATE INDEX messages_conversation ON messages (conversation_id, tenant_id, id);

CREATE TABLE users (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    email TEXT,
    -- owner, member
    role TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    UNIQUE (name, tenant_id)
);
