-- Browsers that are signed in, and links that sign in once.

CREATE TABLE sessions (
    -- SHA-256 of what the cookie holds.
    hash TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- The key that signed in; NULL: a link, which has all rights.
    key_id TEXT REFERENCES api_keys (id),
    created_on BIGINT NOT NULL,
    expires_on BIGINT NOT NULL
);
CREATE INDEX sessions_expiry ON sessions (expires_on);

CREATE TABLE sign_in_links (
    -- SHA-256 of what the link holds.
    hash TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    expires_on BIGINT NOT NULL
);
CREATE INDEX sign_in_links_expiry ON sign_in_links (expires_on);
