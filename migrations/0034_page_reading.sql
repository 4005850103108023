-- Which settings of the crawl decided which links of the page count, as a hash: under others, the page is read again. Empty: before this column.
ALTER TABLE kb_site_pages ADD COLUMN reading TEXT NOT NULL DEFAULT '';
