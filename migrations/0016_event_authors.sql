-- The key that caused an event, where one did: agents that may not read the tenant's events may read their own.
ALTER TABLE events ADD COLUMN author TEXT;
