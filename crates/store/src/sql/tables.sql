CREATE TABLE policy (id BIGINT PRIMARY KEY CHECK (id = 1), version BIGINT NOT NULL, next_schema_id BIGINT NOT NULL);
INSERT INTO policy (id, version, next_schema_id) VALUES (1, 1, 1);
CREATE TABLE organisations (uscc TEXT PRIMARY KEY, name TEXT NOT NULL, division TEXT NOT NULL);
CREATE TABLE systems (
    id TEXT PRIMARY KEY,
    organisation TEXT NOT NULL REFERENCES organisations (uscc),
    name TEXT NOT NULL
);
CREATE TABLE resources (
    name TEXT PRIMARY KEY,
    title_zh TEXT NOT NULL,
    code TEXT NOT NULL,
    provider TEXT NOT NULL REFERENCES organisations (uscc),
    publishing_system TEXT NOT NULL REFERENCES systems (id),
    sharing TEXT NOT NULL,
    basis TEXT NOT NULL,
    key_item TEXT NOT NULL,
    subjects TEXT NOT NULL,
    row_filters BIGINT NOT NULL,
    partitions BIGINT NOT NULL,
    topic_id TEXT
);
CREATE TABLE schemas (
    id BIGINT PRIMARY KEY,
    resource TEXT NOT NULL REFERENCES resources (name),
    version BIGINT NOT NULL,
    view TEXT NOT NULL,
    text TEXT NOT NULL,
    UNIQUE (resource, version, view)
);
CREATE TABLE views (
    digest TEXT PRIMARY KEY,
    whole BIGINT NOT NULL,
    items TEXT NOT NULL,
    filter TEXT,
    scope TEXT NOT NULL,
    master_version BIGINT NOT NULL
);
CREATE TABLE grants (
    id TEXT PRIMARY KEY,
    system TEXT NOT NULL REFERENCES systems (id),
    resource TEXT NOT NULL REFERENCES resources (name),
    view TEXT NOT NULL REFERENCES views (digest),
    modes TEXT NOT NULL,
    purpose TEXT NOT NULL,
    basis TEXT NOT NULL,
    starts_at BIGINT NOT NULL,
    ends_at BIGINT NOT NULL,
    state TEXT NOT NULL,
    records_per_second BIGINT,
    bytes_per_second BIGINT,
    queries_per_day BIGINT,
    codec TEXT NOT NULL
);
CREATE UNIQUE INDEX grants_held ON grants (system, resource) WHERE state <> 'revoked';
CREATE TABLE revoked_certificates (serial TEXT PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE outbox (id {counter}, draft TEXT NOT NULL);
CREATE TABLE checkpoint (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    tree_size BIGINT NOT NULL,
    next_offset BIGINT NOT NULL,
    root TEXT NOT NULL,
    note TEXT NOT NULL
);
CREATE TABLE key_fingerprints (name TEXT PRIMARY KEY, fingerprint TEXT NOT NULL);
