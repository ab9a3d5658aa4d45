-- Payments as they are asked for and what became of them. The money that moved is in `payments`. `answer`
-- is what the request with this key was told; a key is kept for as long as its payment is.
CREATE TABLE IF NOT EXISTS payment_intents (
    id TEXT PRIMARY KEY,
    tenant_id BIGINT NOT NULL,
    client_id BIGINT NOT NULL,
    amount_cents BIGINT NOT NULL,
    method TEXT NOT NULL,
    state TEXT NOT NULL,
    version BIGINT NOT NULL,
    provider_outcome TEXT NOT NULL,
    provider_event TEXT NOT NULL,
    idempotency_key TEXT NOT NULL,
    request_digest TEXT NOT NULL,
    answer TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    UNIQUE (tenant_id, idempotency_key)
);
