-- release: 4
-- What tenants used, hour by hour. NULL is what a server cannot tell of one tenant.

CREATE TABLE paybill.usage (
  tenant_id    text        NOT NULL,
  hour         timestamptz NOT NULL,
  bytes        bigint      CHECK (bytes >= 0),
  rows         bigint      CHECK (rows >= 0),
  connections  integer     NOT NULL CHECK (connections >= 0),
  transactions bigint      CHECK (transactions >= 0),
  PRIMARY KEY (tenant_id, hour)
);
CREATE INDEX usage_hour ON paybill.usage (hour);
