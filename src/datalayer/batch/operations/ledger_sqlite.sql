CREATE TABLE IF NOT EXISTS batch_runs (
    id TEXT PRIMARY KEY NOT NULL,
    operation TEXT NOT NULL,
    table_name TEXT NOT NULL,
    actor TEXT NOT NULL,
    spec TEXT NOT NULL,
    owner TEXT NOT NULL,
    state TEXT NOT NULL,
    committed_cursor INTEGER NOT NULL,
    batches INTEGER NOT NULL,
    taken INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    dead_letters INTEGER NOT NULL,
    total INTEGER NOT NULL,
    error TEXT NOT NULL,
    started_at TEXT NOT NULL,
    updated_at TEXT NOT NULL
);
CREATE TABLE IF NOT EXISTS audit (
    run TEXT NOT NULL,
    batch INTEGER NOT NULL,
    operation TEXT NOT NULL,
    table_name TEXT NOT NULL,
    changed INTEGER NOT NULL,
    dead_letters INTEGER NOT NULL,
    first_key INTEGER NOT NULL,
    last_key INTEGER NOT NULL,
    outcome TEXT NOT NULL,
    actor TEXT NOT NULL,
    committed_at TEXT NOT NULL,
    PRIMARY KEY (run, batch)
);
CREATE TABLE IF NOT EXISTS dead_letters (
    id INTEGER PRIMARY KEY,
    run TEXT NOT NULL,
    batch INTEGER NOT NULL,
    operation TEXT NOT NULL,
    table_name TEXT NOT NULL,
    row_json TEXT NOT NULL,
    error TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    laid_aside_at TEXT NOT NULL
);
CREATE INDEX IF NOT EXISTS dead_letters_by_run ON dead_letters (run, id);
