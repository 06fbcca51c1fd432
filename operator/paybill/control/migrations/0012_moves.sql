-- release: 4
-- Moves of tenants' data: one row per tenant from the first act until what it left was dropped. No secret is in here.

CREATE TABLE paybill.moves (
    tenant_id       text        PRIMARY KEY CHECK (tenant_id ~ '^[0-9a-z]{8}$'),
    installation    text        NOT NULL CHECK (installation <> ''),
    cell            text        NOT NULL,
    source_server   text        NOT NULL,
    source_level    text        NOT NULL,
    source_database text        NOT NULL,
    source_plan     text,
    source_revision text,
    target_server   text        NOT NULL,
    target_level    text        NOT NULL,
    target_database text        NOT NULL,
    step            text        NOT NULL CHECK (step IN ('Prepare', 'Copy', 'Cutover', 'Keep')),
    mode            text        CHECK (mode IN ('Online', 'Offline')),
    because         text        NOT NULL DEFAULT '',
    shape           text        NOT NULL DEFAULT '',
    attempt         integer     NOT NULL DEFAULT 1,
    tables          integer     NOT NULL DEFAULT 0,
    rows            bigint      NOT NULL DEFAULT 0,
    checksum        text        NOT NULL DEFAULT '',
    place           text        NOT NULL DEFAULT '',
    retired         boolean     NOT NULL DEFAULT false,
    begun_time      timestamptz NOT NULL,
    step_time       timestamptz NOT NULL,
    keep_until      timestamptz,
    CHECK ((source_server, source_database) <> (target_server, target_database))
);
CREATE INDEX moves_installation ON paybill.moves (installation);
