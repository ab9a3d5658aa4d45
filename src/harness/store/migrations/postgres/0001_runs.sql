-- Times are nanoseconds since 1970-01-01 UTC; `valid` is 1 where a run may be judged.
-- Names compare byte by byte, so that the order is that of SQLite whatever the server's locale.
CREATE TABLE runs (
    id               TEXT   COLLATE "C" NOT NULL PRIMARY KEY,
    scenario         TEXT   COLLATE "C" NOT NULL,
    session          TEXT   COLLATE "C" NOT NULL,
    arm              TEXT,
    pair             BIGINT,
    started_at_ns    BIGINT NOT NULL,
    duration_ns      BIGINT NOT NULL,
    revision         TEXT,
    plimsoll_version TEXT   NOT NULL,
    machine_id       TEXT   NOT NULL,
    fingerprint_id   TEXT   NOT NULL,
    valid            BIGINT NOT NULL,
    format           TEXT   NOT NULL,
    -- The whole run as JSON; text and not JSONB, because it is read back to the last digit.
    payload          TEXT   NOT NULL
);

CREATE INDEX runs_by_scenario ON runs (scenario, fingerprint_id, started_at_ns);
CREATE INDEX runs_by_session ON runs (session);

-- One row per replicate: a series over many runs must not read their payloads.
CREATE TABLE metrics (
    run_id    TEXT             COLLATE "C" NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    name      TEXT             COLLATE "C" NOT NULL,
    replicate BIGINT           NOT NULL,
    unit      TEXT             NOT NULL,
    better    TEXT             NOT NULL,
    value     DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (run_id, name, replicate)
);

CREATE INDEX metrics_by_name ON metrics (name, run_id);
