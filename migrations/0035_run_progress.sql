-- How far the evaluation of a run is: queries that were measured, of all of them, and when it began; NULL: not yet, or a run of before.
ALTER TABLE kb_eval_runs ADD COLUMN queries_done BIGINT NOT NULL DEFAULT 0;
ALTER TABLE kb_eval_runs ADD COLUMN queries_total BIGINT NOT NULL DEFAULT 0;
ALTER TABLE kb_eval_runs ADD COLUMN started_on BIGINT;
