-- The fallback of `opsctl search`: memory items that a migration wrote to Weaviate and, with --also-to-postgres, here.
-- `body` has all properties as they were written. It is json and not jsonb: what is read back must be what went in.
CREATE TABLE IF NOT EXISTS opsctl_memory (
    collection text NOT NULL,
    id uuid NOT NULL,
    tenant text NOT NULL DEFAULT '',
    body json NOT NULL,
    text text NOT NULL DEFAULT '',
    model text NOT NULL DEFAULT '',  -- which model the embedding is of: those of two do not mix
    written timestamptz NOT NULL DEFAULT now(),
    -- A tsvector holds 1 MB at most.
    words tsvector GENERATED ALWAYS AS (to_tsvector('english', left(text, 200000))) STORED,
    PRIMARY KEY (collection, id)
);
CREATE INDEX IF NOT EXISTS opsctl_memory_words ON opsctl_memory USING gin (words);
CREATE INDEX IF NOT EXISTS opsctl_memory_tenant ON opsctl_memory (collection, tenant);
COMMENT ON TABLE opsctl_memory IS 'made by opsctl';
