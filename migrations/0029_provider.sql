-- Whether the groups of the identity provider made the membership: its role follows them, and it ends with them.
ALTER TABLE memberships ADD COLUMN by_provider BOOLEAN NOT NULL DEFAULT FALSE;
