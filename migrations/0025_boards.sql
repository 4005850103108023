-- Boards of people and agents: profiles, access by board, agents of boards, what happened on boards, payloads of their webhooks.

-- What a person says about itself, and what an identity provider knows of it.
CREATE TABLE user_profiles (
    user_id TEXT PRIMARY KEY REFERENCES users (id),
    -- Issuer and subject at the identity provider, as `issuer|subject`.
    subject TEXT UNIQUE,
    email TEXT,
    name TEXT,
    preferred_name TEXT,
    pronouns TEXT,
    timezone TEXT,
    notes TEXT,
    context TEXT,
    -- Tenant in which the credentials of the person act; NULL: that of the credential.
    active_tenant_id TEXT REFERENCES tenants (id)
);

-- The name of a tenant as people write it; `name` is its short form. The key is unique without regard to case.
ALTER TABLE tenants ADD COLUMN title TEXT;
ALTER TABLE tenants ADD COLUMN title_key TEXT;
ALTER TABLE tenants ADD COLUMN updated_on BIGINT;
CREATE UNIQUE INDEX tenants_title ON tenants (title_key);

-- Boards that a member may use: all of them, or those in the JSON array of {id, board_id, can_read, can_write, created_on, updated_on}.
ALTER TABLE memberships ADD COLUMN all_boards_read BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE memberships ADD COLUMN all_boards_write BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE memberships ADD COLUMN board_access TEXT NOT NULL DEFAULT '[]';
ALTER TABLE memberships ADD COLUMN updated_on BIGINT;
ALTER TABLE invites ADD COLUMN all_boards_read BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE invites ADD COLUMN all_boards_write BOOLEAN NOT NULL DEFAULT TRUE;
ALTER TABLE invites ADD COLUMN board_access TEXT NOT NULL DEFAULT '[]';
-- The secret of the invitation, encrypted, where administrators may see it again.
ALTER TABLE invites ADD COLUMN sealed_token TEXT;

-- The only board of an agent; NULL: all of its tenant.
ALTER TABLE agents ADD COLUMN board_id TEXT;

-- Provisioning and signs of life of the agents of boards, whose settings are records.
CREATE TABLE agent_states (
    agent_id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    -- provisioning, updating, online, offline, deleting
    status TEXT NOT NULL,
    last_seen_on BIGINT,
    woken_on BIGINT,
    -- Counts provisionings; a job of an earlier one does nothing.
    generation BIGINT NOT NULL DEFAULT 0,
    -- Generation whose provisioning has ended, with or without an error.
    settled BIGINT NOT NULL DEFAULT 0,
    wake_attempts BIGINT NOT NULL DEFAULT 0,
    last_error TEXT,
    updated_on BIGINT NOT NULL
);

-- What happened on boards. Comments are entries of the type task.comment.
CREATE TABLE board_activity (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    event_type TEXT NOT NULL,
    message TEXT,
    agent_id TEXT,
    task_id TEXT,
    board_id TEXT,
    -- Status that the task came into.
    status TEXT,
    created_on BIGINT NOT NULL
);
CREATE INDEX board_activity_board ON board_activity (board_id, id);
CREATE INDEX board_activity_task ON board_activity (task_id, event_type, id);
CREATE INDEX board_activity_agent ON board_activity (agent_id, id);

-- Tasks that wait for others, and the tasks of approvals.
CREATE TABLE task_dependencies (
    task_id TEXT NOT NULL,
    depends_on_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    board_id TEXT NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (task_id, depends_on_id)
);
CREATE INDEX task_dependencies_dependents ON task_dependencies (depends_on_id);
CREATE INDEX task_dependencies_board ON task_dependencies (board_id);
CREATE TABLE approval_tasks (
    approval_id TEXT NOT NULL,
    task_id TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    board_id TEXT NOT NULL,
    -- pending, approved, rejected: the status of the approval
    status TEXT NOT NULL,
    place BIGINT NOT NULL,
    PRIMARY KEY (approval_id, task_id)
);
-- A task has one pending approval.
CREATE UNIQUE INDEX approval_tasks_pending ON approval_tasks (task_id) WHERE status = 'pending';
CREATE INDEX approval_tasks_task ON approval_tasks (task_id, status);
CREATE INDEX approval_tasks_board ON approval_tasks (board_id);

-- What webhooks of boards received.
CREATE TABLE board_payloads (
    id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    board_id TEXT NOT NULL,
    webhook_id TEXT NOT NULL,
    -- JSON of the payload: a text where it was no JSON.
    payload TEXT NOT NULL,
    -- JSON object of the headers that are kept.
    headers TEXT NOT NULL,
    source_ip TEXT,
    content_type TEXT,
    received_on BIGINT NOT NULL
);
CREATE INDEX board_payloads_webhook ON board_payloads (webhook_id, id);

-- Records of a parent by their status: the tasks of a board.
CREATE INDEX records_parent_status ON records (parent_id, kind, status, id);
