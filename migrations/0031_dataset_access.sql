-- JSON array of the datasets that a member uses, each with the role of the member in it; NULL: all of the tenant.
ALTER TABLE memberships ADD COLUMN dataset_access TEXT;
