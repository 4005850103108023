-- Runs and tunings are jobs: they take as long as their queries, and survive a restart.

-- run, tuning
ALTER TABLE kb_eval_runs ADD COLUMN kind TEXT NOT NULL DEFAULT 'run';
-- queued, done, failed
ALTER TABLE kb_eval_runs ADD COLUMN status TEXT NOT NULL DEFAULT 'done';
ALTER TABLE kb_eval_runs ADD COLUMN error TEXT;
