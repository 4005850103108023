-- Whether a query was made from a title or heading, and not by a person: scores of such queries say nothing about those of questions.
ALTER TABLE kb_queries ADD COLUMN generated BOOLEAN NOT NULL DEFAULT FALSE;
