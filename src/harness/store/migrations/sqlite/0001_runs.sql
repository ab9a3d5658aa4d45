-- Times are nanoseconds since 1970-01-01 UTC; `valid` is 1 where a run may be judged.
CREATE TABLE runs (
    id               TEXT    NOT NULL PRIMARY KEY,
    scenario         TEXT    NOT NULL,
    session          TEXT    NOT NULL,
    arm              TEXT,
    pair             INTEGER,
    started_at_ns    INTEGER NOT NULL,
    duration_ns      INTEGER NOT NULL,
    revision         TEXT,
    plimsoll_version TEXT    NOT NULL,
    machine_id       TEXT    NOT NULL,
    fingerprint_id   TEXT    NOT NULL,
    valid            INTEGER NOT NULL,
    format           TEXT    NOT NULL,
    -- The whole run as JSON, last in the row, so that a scan of the columns above skips its pages.
    payload          TEXT    NOT NULL
);

CREATE INDEX runs_by_scenario ON runs (scenario, fingerprint_id, started_at_ns);
CREATE INDEX runs_by_session ON runs (session);

-- One row per replicate: a series over many runs must not read their payloads.
CREATE TABLE metrics (
    run_id    TEXT    NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name      TEXT    NOT NULL,
    replicate INTEGER NOT NULL,
    unit      TEXT    NOT NULL,
    better    TEXT    NOT NULL,
    value     REAL    NOT NULL,
    PRIMARY KEY (run_id, name, replicate)
) WITHOUT ROWID;

CREATE INDEX metrics_by_name ON metrics (name, run_id);
