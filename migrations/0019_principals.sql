-- People, agents and programs that act in tenants, and their secrets in one table.

-- A person of the installation, who may be a member of several tenants.
CREATE TABLE people (
    id TEXT PRIMARY KEY,
    created_on BIGINT NOT NULL
);
INSERT INTO people (id, created_on) SELECT id, created_on FROM users;

CREATE TABLE memberships (
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    user_id TEXT NOT NULL REFERENCES people (id),
    -- As the tenant shows the person.
    name TEXT NOT NULL,
    email TEXT,
    -- owner, admin, member, reviewer
    role TEXT NOT NULL,
    -- active, inactive
    status TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    PRIMARY KEY (user_id, tenant_id),
    UNIQUE (name, tenant_id)
);
INSERT INTO memberships (tenant_id, user_id, name, email, role, status, created_on)
    SELECT tenant_id, id, name, email, role, 'active', created_on FROM users;
DROP TABLE users;
ALTER TABLE people RENAME TO users;

CREATE TABLE agents (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    -- What it does, in the tenant's own words, such as researcher.
    role TEXT NOT NULL,
    -- active, inactive
    status TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    UNIQUE (name, tenant_id)
);

-- Invitations. The secret is the credential with the same id.
CREATE TABLE invites (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    email TEXT,
    role TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    -- Who invited; NULL: the command line.
    created_by TEXT,
    expires_on BIGINT NOT NULL,
    accepted_on BIGINT,
    user_id TEXT REFERENCES users (id)
);

CREATE TABLE credentials (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- key, agent_token, session, link, invite
    kind TEXT NOT NULL,
    -- SHA-256 of the secret. Secrets are 256 random bits, so a slow password hash would add nothing.
    hash TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    -- First characters of a key, for people to tell keys apart.
    hint TEXT NOT NULL,
    -- JSON array of the scopes of a key or an agent token; the others have the rights of their key, their member, or the owner.
    scopes TEXT NOT NULL,
    -- JSON array of dataset ids that it is restricted to; NULL: all of the tenant.
    dataset_ids TEXT,
    -- The member on whose behalf it acts, and whose role limits it.
    user_id TEXT REFERENCES users (id),
    -- The agent on whose behalf it acts.
    agent_id TEXT REFERENCES agents (id),
    -- The key with which a session was begun.
    key_id TEXT REFERENCES credentials (id),
    expires_on BIGINT,
    -- Requests per minute; NULL: the configured default.
    rate_per_minute BIGINT,
    last_used_on BIGINT,
    revoked_on BIGINT,
    created_on BIGINT NOT NULL,
    -- The key or the person that created it; NULL: the owner of the data directory.
    created_by TEXT,
    -- The key whose rate its requests count against, too: the nearest creator with a rate of its own.
    rate_of TEXT
);
INSERT INTO credentials (id, tenant_id, kind, hash, name, hint, scopes, dataset_ids, expires_on, rate_per_minute, last_used_on, revoked_on, created_on, created_by, rate_of)
    SELECT id, tenant_id, 'key', hash, name, hint, scopes, dataset_ids, expires_on, rate_per_minute, last_used_on, revoked_on, created_on, created_by, rate_of FROM api_keys;
INSERT INTO credentials (id, tenant_id, kind, hash, name, hint, scopes, key_id, expires_on, created_on)
    SELECT hash, tenant_id, 'session', hash, '', '', '[]', key_id, expires_on, created_on FROM sessions;
INSERT INTO credentials (id, tenant_id, kind, hash, name, hint, scopes, expires_on, created_on)
    SELECT hash, tenant_id, 'link', hash, '', '', '[]', expires_on, 0 FROM sign_in_links;
CREATE INDEX credentials_tenant ON credentials (tenant_id, kind, id);
CREATE INDEX credentials_expiry ON credentials (expires_on);
CREATE INDEX credentials_maker ON credentials (created_by);
CREATE INDEX credentials_user ON credentials (user_id);
CREATE INDEX credentials_agent ON credentials (agent_id);
CREATE INDEX credentials_key ON credentials (key_id);
DROP TABLE sessions;
DROP TABLE sign_in_links;
DROP TABLE api_keys;
