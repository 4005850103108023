-- One lead for all dialects: those of sales campaigns join those of the CRM, and tasks, audit and facets stay where they are.

-- The position of a lead in the stages of its campaign, which was its status.
ALTER TABLE records ADD COLUMN stage TEXT;
-- The area in whose dataset the text is searched, when it is not that of the kind.
ALTER TABLE records ADD COLUMN area TEXT;

-- What a migration leaves to the program, which reads JSON; a row goes when it is done.
CREATE TABLE data_migrations (
    name TEXT PRIMARY KEY
);
INSERT INTO data_migrations (name) SELECT 'shared_leads' WHERE EXISTS (SELECT 1 FROM records WHERE kind IN ('lead', 'crm_lead'));

UPDATE records SET stage = status, status = 'new', area = 'sales', kind = 'crm_lead' WHERE kind = 'lead';
