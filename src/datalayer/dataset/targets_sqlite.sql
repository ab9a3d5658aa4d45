CREATE TABLE IF NOT EXISTS records_archive (
    id INTEGER PRIMARY KEY,
    tenant_id INTEGER NOT NULL,
    client_id INTEGER NOT NULL,
    diagnosed_on TEXT NOT NULL,
    code TEXT NOT NULL,
    stage TEXT NOT NULL,
    city TEXT NOT NULL,
    cost_cents INTEGER NOT NULL,
    archived_on TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS records_reported (
    id INTEGER PRIMARY KEY,
    tenant_id INTEGER NOT NULL,
    year TEXT NOT NULL,
    category TEXT NOT NULL,
    stage TEXT NOT NULL,
    cost_units INTEGER NOT NULL
);
