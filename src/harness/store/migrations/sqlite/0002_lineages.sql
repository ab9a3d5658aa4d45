-- The runs of one scenario under one fingerprint in the order of time. What is counted and what a limit
-- is taken over stand in the index itself: rows are hundreds of bytes even without the pages of their payload.
DROP INDEX runs_by_scenario;
CREATE INDEX runs_by_lineage
    ON runs (scenario, fingerprint_id, started_at_ns, id, arm, valid, machine_id);

DROP INDEX runs_by_session;
CREATE INDEX runs_by_session ON runs (session, scenario, fingerprint_id, started_at_ns, id, valid);

CREATE INDEX runs_by_time ON runs (started_at_ns, id, scenario);

-- Values are found by their run, which is the primary key; no statement asks for all runs of one name.
DROP INDEX metrics_by_name;
