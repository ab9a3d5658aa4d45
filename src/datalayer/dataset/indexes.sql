-- Keyset pages: every sort key with the id that breaks its ties.
CREATE INDEX IF NOT EXISTS clients_by_family_name ON clients (family_name, id);
CREATE INDEX IF NOT EXISTS clients_by_created_at ON clients (created_at, id);
CREATE INDEX IF NOT EXISTS clients_by_tenant ON clients (tenant_id, id);
CREATE INDEX IF NOT EXISTS clients_by_city ON clients (city, id);
-- Search: prefixes, whatever their case.
CREATE INDEX IF NOT EXISTS clients_by_lower_family_name ON clients (lower(family_name));
CREATE INDEX IF NOT EXISTS clients_by_lower_given_name ON clients (lower(given_name));
CREATE INDEX IF NOT EXISTS clients_by_lower_email ON clients (lower(email));
-- The detail of a client and the dashboard of a tenant.
CREATE INDEX IF NOT EXISTS appointments_by_client ON appointments (client_id, starts_at);
CREATE INDEX IF NOT EXISTS payments_by_client ON payments (client_id, paid_on);
CREATE INDEX IF NOT EXISTS records_by_tenant ON records (tenant_id);
