-- Who made what acts for somebody: a key has no more rights than the key that made it, and an endpoint hears no more than the key that set it up.

-- The key that made it; NULL: the owner of the data directory, or a key from before this column.
ALTER TABLE api_keys ADD COLUMN created_by TEXT;
-- The key whose rate its requests count against, too: the nearest maker with a rate of its own.
ALTER TABLE api_keys ADD COLUMN rate_of TEXT;
CREATE INDEX api_keys_maker ON api_keys (created_by);

-- The key that last said where an endpoint is and what it hears; NULL: the owner.
ALTER TABLE webhook_endpoints ADD COLUMN set_by TEXT;
UPDATE webhook_endpoints SET set_by = (SELECT author FROM records WHERE records.tenant_id = webhook_endpoints.tenant_id AND records.id = webhook_endpoints.endpoint_id);

-- The key that was answered; only it is answered again.
ALTER TABLE idempotency_keys ADD COLUMN key_id TEXT;
