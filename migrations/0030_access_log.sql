-- Who changed access, and who signed in.
CREATE TABLE access_log (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- Key, member or agent that did it; NULL: the command line, the identity provider or the service itself.
    actor TEXT,
    -- Such as key.created.
    action TEXT NOT NULL,
    -- Id and name, at that time, of what was changed.
    subject TEXT NOT NULL,
    name TEXT NOT NULL,
    -- JSON object of particulars, without secrets.
    detail TEXT NOT NULL,
    created_on BIGINT NOT NULL
);
CREATE INDEX access_log_tenant ON access_log (tenant_id, id);
