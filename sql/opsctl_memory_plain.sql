-- Without pgvector: embeddings are kept, and full text is searched.
ALTER TABLE opsctl_memory ADD COLUMN IF NOT EXISTS embedding real[];
