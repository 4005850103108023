-- Modules of a workspace that are off, by the names of their areas, separated by commas. Their records stay.
ALTER TABLE tenants ADD COLUMN modules_off TEXT NOT NULL DEFAULT '';
