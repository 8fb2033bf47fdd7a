-- With pgvector: embeddings that can be searched. Searches are exact; from some 100,000 items on, an index makes them
-- fast at the price of slower writes:
--   CREATE INDEX ON opsctl_memory USING hnsw (embedding vector_cosine_ops);
CREATE EXTENSION IF NOT EXISTS vector;
ALTER TABLE opsctl_memory ADD COLUMN IF NOT EXISTS embedding vector(384);
