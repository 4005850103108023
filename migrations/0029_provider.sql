-- Whether the groups of the identity provider made the membership: granted, withdrawn; NULL: others decide about it.
ALTER TABLE memberships ADD COLUMN by_provider TEXT;
