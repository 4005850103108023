-- When the settings of the site changed last that decide which links of a page count: pages that were read before are read again. 0: before this column.
ALTER TABLE kb_sites ADD COLUMN settings_on BIGINT NOT NULL DEFAULT 0;
