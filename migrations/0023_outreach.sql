-- Plans of tenants (NULL: no limits), the address that signed up, and what `setup` says about the organisation (JSON object).
ALTER TABLE tenants ADD COLUMN plan TEXT;
ALTER TABLE tenants ADD COLUMN email TEXT;
ALTER TABLE tenants ADD COLUMN profile TEXT NOT NULL DEFAULT '{}';
CREATE UNIQUE INDEX tenants_email ON tenants (email);

-- Leads are listed by their status in the words of sales.
INSERT INTO record_facets (kind, name, value, tenant_id, record_id)
SELECT kind, 'sales_status', CASE status WHEN 'working' THEN 'contacted' WHEN 'disqualified' THEN 'unqualified' WHEN 'converted' THEN 'won' ELSE status END, tenant_id, id
FROM records WHERE kind = 'crm_lead' AND status IS NOT NULL;

-- Secrets of connections and inbound sources, encrypted, by the record that they belong to.
CREATE TABLE connection_secrets (
    owner_id TEXT NOT NULL,
    -- token, signing
    name TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    secret TEXT NOT NULL,
    PRIMARY KEY (owner_id, name)
);

-- Messages that inbound sources have accepted; one is accepted once.
CREATE TABLE inbound_messages (
    source_id TEXT NOT NULL,
    message_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    received_on BIGINT NOT NULL,
    PRIMARY KEY (source_id, message_id)
);
CREATE INDEX inbound_messages_age ON inbound_messages (received_on);

-- Leads in sequences of mails.
CREATE TABLE enrolments (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    sequence_id TEXT NOT NULL,
    lead_id TEXT NOT NULL,
    -- active, completed, stopped
    status TEXT NOT NULL,
    -- Why it ended.
    reason TEXT,
    -- The event that began it.
    trigger_event TEXT NOT NULL,
    -- Part of the addresses by which its receiver unsubscribes and follows links.
    token TEXT NOT NULL,
    started_on BIGINT NOT NULL,
    ended_on BIGINT
);
CREATE UNIQUE INDEX enrolments_active ON enrolments (lead_id, sequence_id) WHERE status = 'active';
CREATE UNIQUE INDEX enrolments_token ON enrolments (token);
CREATE INDEX enrolments_lead ON enrolments (lead_id, ended_on);
CREATE INDEX enrolments_sequence ON enrolments (sequence_id, id);

-- Mails of enrolments, one per step.
CREATE TABLE mails (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    enrolment_id TEXT NOT NULL,
    sequence_id TEXT NOT NULL,
    lead_id TEXT NOT NULL,
    -- From 0.
    step BIGINT NOT NULL,
    address TEXT NOT NULL,
    -- waiting, transmitting, sent, unconfirmed, failed, bounced, cancelled
    status TEXT NOT NULL,
    -- As sent.
    subject TEXT,
    body TEXT,
    -- JSON array: passages of the knowledge base that a language model was given.
    citations TEXT NOT NULL,
    -- JSON array: what the reader of the queue should know, such as a template used in place of a model.
    warnings TEXT NOT NULL,
    due_on BIGINT NOT NULL,
    -- When the transmission began: this counts against the limits of the address.
    transmitted_on BIGINT,
    attempts BIGINT NOT NULL,
    last_error TEXT,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL
);
CREATE UNIQUE INDEX mails_step ON mails (enrolment_id, step);
CREATE INDEX mails_address ON mails (address, transmitted_on);
CREATE INDEX mails_lead ON mails (lead_id, id);
CREATE INDEX mails_sequence ON mails (sequence_id, id);

-- Addresses that mails go to: the row is locked while a transmission is admitted.
CREATE TABLE mail_addresses (
    address TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- bounced, unsubscribed; NULL for one that may be written to.
    blocked TEXT,
    blocked_on BIGINT,
    PRIMARY KEY (address, tenant_id)
);
