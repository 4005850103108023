-- What tracked links are signed with; no mail contains it. Links of enrolments without one are not valid.
ALTER TABLE enrolments ADD COLUMN link_key TEXT NOT NULL DEFAULT '';
-- Whether everything that a message causes was done. One that is not done goes on where it stopped when it comes again.
ALTER TABLE inbound_messages ADD COLUMN done BOOLEAN NOT NULL DEFAULT TRUE;

-- Figures count values of one name in one tenant.
CREATE INDEX record_facets_sales_status ON record_facets (kind, tenant_id, value, record_id) WHERE name = 'sales_status';
CREATE INDEX record_facets_stage_id ON record_facets (kind, tenant_id, value, record_id) WHERE name = 'stage_id';
CREATE INDEX record_facets_related ON record_facets (kind, tenant_id, value, record_id) WHERE name = 'related_resource_id';
CREATE INDEX record_facets_touchpoint ON record_facets (kind, tenant_id, value, record_id) WHERE name = 'touchpoint_type';

-- Leads from before got types for fields that were free; what does not fit is moved where JSON is read.
INSERT INTO data_migrations (name) VALUES ('typed_leads');
