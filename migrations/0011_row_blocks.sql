-- Rows of folders in blocks: a million rows are two thousand of these.

CREATE TABLE row_blocks (
    folder_id TEXT NOT NULL,
    -- Positions of its first and last row; rows that were deleted leave their positions empty.
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    row_count BIGINT NOT NULL,
    byte_count BIGINT NOT NULL,
    -- Raised by every change.
    version BIGINT NOT NULL,
    -- The version that search has.
    shown BIGINT NOT NULL,
    -- A line per row, each ended: JSON of [position, id, time of creation, fields].
    body TEXT NOT NULL,
    PRIMARY KEY (folder_id, first_seq)
);

-- Uploads by the name that the caller gave them, so that one that is sent again changes nothing.
CREATE TABLE row_uploads (
    folder_id TEXT NOT NULL,
    name TEXT NOT NULL,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    row_count BIGINT NOT NULL,
    first_seq BIGINT NOT NULL,
    last_seq BIGINT NOT NULL,
    created_on BIGINT NOT NULL,
    PRIMARY KEY (folder_id, name)
);

-- Rows from before keep their documents of their own until they change.
INSERT INTO row_blocks (folder_id, first_seq, last_seq, tenant_id, row_count, byte_count, version, shown, body)
SELECT folder_id, MIN(seq), MAX(seq), tenant_id, COUNT(*), CAST(SUM(LENGTH(body) + LENGTH(id) + 40) AS BIGINT), 1, 1,
    string_agg('[' || seq || ',"' || id || '",' || created_on || ',' || body || ']
', '' ORDER BY seq)
FROM data_rows GROUP BY folder_id, tenant_id, (seq - 1) / 500;

DROP TABLE data_rows;
