-- Jobs of the background: those that wait or run, and the history of those that have ended. Times are
-- milliseconds since 1970 by the database's clock, 0 where there is none. `attempt` counts the runs, and tells
-- a run that lost its job from the one that has it.
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY,
    queue TEXT NOT NULL,
    kind TEXT NOT NULL,
    priority BIGINT NOT NULL,
    payload TEXT NOT NULL,
    tenant_id BIGINT NOT NULL,
    owner TEXT NOT NULL,
    state TEXT NOT NULL,
    attempt BIGINT NOT NULL,
    attempts_max BIGINT NOT NULL,
    progress_done BIGINT NOT NULL,
    progress_total BIGINT NOT NULL,
    cancel_requested BIGINT NOT NULL,
    result TEXT NOT NULL,
    created_at_ms BIGINT NOT NULL,
    due_at_ms BIGINT NOT NULL,
    started_at_ms BIGINT NOT NULL,
    ended_at_ms BIGINT NOT NULL,
    lease_until_ms BIGINT NOT NULL
);
-- Which attempt failed, and why.
CREATE TABLE IF NOT EXISTS job_errors (
    job_id TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
    attempt BIGINT NOT NULL,
    failed_at_ms BIGINT NOT NULL,
    message TEXT NOT NULL,
    PRIMARY KEY (job_id, attempt)
);
-- The next job of a queue, and the leases that are over.
CREATE INDEX IF NOT EXISTS jobs_by_turn ON jobs (state, queue, priority DESC, due_at_ms, id);
-- The statistics of a queue, and what of the history is old.
CREATE INDEX IF NOT EXISTS jobs_by_end ON jobs (state, ended_at_ms);
-- A caller's own history.
CREATE INDEX IF NOT EXISTS jobs_by_owner ON jobs (owner, tenant_id, id);
