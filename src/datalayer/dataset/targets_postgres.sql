CREATE TABLE IF NOT EXISTS records_archive (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    client_id BIGINT NOT NULL,
    diagnosed_on TEXT COLLATE "C" NOT NULL,
    code TEXT COLLATE "C" NOT NULL,
    stage TEXT COLLATE "C" NOT NULL,
    city TEXT COLLATE "C" NOT NULL,
    cost_cents BIGINT NOT NULL,
    archived_on TEXT COLLATE "C" NOT NULL
);
CREATE TABLE IF NOT EXISTS records_reported (
    id BIGINT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    year TEXT COLLATE "C" NOT NULL,
    category TEXT COLLATE "C" NOT NULL,
    stage TEXT COLLATE "C" NOT NULL,
    cost_units BIGINT NOT NULL
);
