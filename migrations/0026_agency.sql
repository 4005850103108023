-- Work of a marketing team of people and agents: runs of agents with their steps, the spending of campaigns, the operational log, conversations, imports of leads.

-- A run is one conversation of an agent with a model about an activity. Amounts are millionths of a US dollar.
CREATE TABLE activity_runs (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    activity_id TEXT NOT NULL,
    campaign_id TEXT,
    deliverable_type TEXT,
    role TEXT NOT NULL,
    -- queued, running, completed, failed, timeout
    status TEXT NOT NULL,
    -- Higher ones go first.
    priority BIGINT NOT NULL,
    -- The job that executes it, or did so last.
    job_id TEXT,
    model TEXT,
    input_tokens BIGINT NOT NULL DEFAULT 0,
    output_tokens BIGINT NOT NULL DEFAULT 0,
    cost_micros BIGINT NOT NULL DEFAULT 0,
    -- Position in the event log before its first event.
    first_event BIGINT,
    error TEXT,
    created_on BIGINT NOT NULL,
    started_on BIGINT,
    completed_on BIGINT
);
CREATE INDEX activity_runs_activity ON activity_runs (activity_id, id);
CREATE INDEX activity_runs_role ON activity_runs (role, status, tenant_id, priority, id);
CREATE INDEX activity_runs_campaign ON activity_runs (campaign_id, status);

-- The messages of a run: each is stored when it is complete, so that an interrupted run continues after the last one.
CREATE TABLE run_steps (
    run_id TEXT NOT NULL,
    number BIGINT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- started: a response of the model is awaited; done; lost: it was interrupted, and its cost is estimated
    state TEXT NOT NULL,
    -- JSON of the message.
    message TEXT,
    input_tokens BIGINT NOT NULL DEFAULT 0,
    output_tokens BIGINT NOT NULL DEFAULT 0,
    cost_micros BIGINT NOT NULL DEFAULT 0,
    -- Reserved from the budget of the campaign while the response is awaited.
    reserved_micros BIGINT NOT NULL DEFAULT 0,
    created_on BIGINT NOT NULL,
    PRIMARY KEY (run_id, number)
);
CREATE INDEX run_steps_created ON run_steps (created_on);

CREATE TABLE campaign_spend (
    campaign_id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- NULL: no cap.
    cap_micros BIGINT,
    spent_micros BIGINT NOT NULL DEFAULT 0,
    reserved_micros BIGINT NOT NULL DEFAULT 0
);

-- One row per role of a tenant: locked while runs of the role are started and ended, so that their number is exact.
CREATE TABLE agent_roles (
    role TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    last_error TEXT,
    last_error_on BIGINT,
    last_active_on BIGINT,
    PRIMARY KEY (role, tenant_id)
);

CREATE TABLE agency_log (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- debug, info, warn, error
    level TEXT NOT NULL,
    -- agent, tool, approval, system, billing
    category TEXT NOT NULL,
    message TEXT NOT NULL,
    -- JSON object.
    context TEXT NOT NULL,
    activity_id TEXT,
    agent_role TEXT,
    created_on BIGINT NOT NULL
);
CREATE INDEX agency_log_category ON agency_log (category, tenant_id, id);
CREATE INDEX agency_log_activity ON agency_log (activity_id, id);
CREATE INDEX agency_log_created ON agency_log (created_on);

CREATE INDEX audit_events_kind ON audit_events (entity_kind, tenant_id, id);
CREATE INDEX audit_events_actor ON audit_events (actor, id);

-- Imports of leads from files. The rows are read from the content, which is removed when the import is over.
CREATE TABLE lead_imports (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- processing, completed, failed
    status TEXT NOT NULL,
    content TEXT,
    -- JSON object: column to field.
    mapping TEXT NOT NULL,
    origin TEXT NOT NULL,
    total BIGINT NOT NULL,
    -- Rows that are done.
    position BIGINT NOT NULL DEFAULT 0,
    imported BIGINT NOT NULL DEFAULT 0,
    skipped BIGINT NOT NULL DEFAULT 0,
    -- JSON array of {row, reason}; the first ones.
    errors TEXT NOT NULL DEFAULT '[]',
    -- Who asked for it, and whose rules hold.
    created_by TEXT,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL
);

-- Leads are listed by their origin; see crm::migration.
INSERT INTO data_migrations (name) VALUES ('lead_origins') ON CONFLICT DO NOTHING;

-- Conversations with the assistant, of the person or key that began them.
CREATE TABLE chat_conversations (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    owner TEXT NOT NULL,
    title TEXT NOT NULL,
    last_message TEXT NOT NULL,
    created_on BIGINT NOT NULL,
    updated_on BIGINT NOT NULL
);
CREATE INDEX chat_conversations_owner ON chat_conversations (owner, tenant_id, updated_on);

CREATE TABLE chat_messages (
    id TEXT PRIMARY KEY,
    conversation_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- user, assistant
    role TEXT NOT NULL,
    content TEXT NOT NULL,
    -- JSON array.
    citations TEXT NOT NULL,
    created_on BIGINT NOT NULL
);
CREATE INDEX chat_messages_conversation ON chat_messages (conversation_id, id);

-- Sign-ins at publishing platforms that are under way. A state is used once.
CREATE TABLE oauth_states (
    state_hash TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    platform TEXT NOT NULL,
    -- The verifier of the code (RFC 7636), encrypted.
    verifier TEXT NOT NULL,
    redirect_url TEXT NOT NULL,
    actor TEXT,
    expires_on BIGINT NOT NULL
);
CREATE INDEX oauth_states_expiry ON oauth_states (expires_on);
