-- Id of the key or the member that set them; NULL: the owner's command line, or before this column.
ALTER TABLE kb_search_defaults ADD COLUMN changed_by TEXT;
