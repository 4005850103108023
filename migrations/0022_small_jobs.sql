-- Short jobs of one group, such as the ingestion of small files: a worker runs many of them together.
ALTER TABLE jobs ADD COLUMN small BOOLEAN NOT NULL DEFAULT FALSE;
