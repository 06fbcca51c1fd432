-- release: 3
-- Infrastructure of tenants' own: what was applied last, and every operation of an engine. No secret is in here: what a
-- stack hands over is kept in a Secret.

CREATE TABLE paybill.stacks (
    tenant_id          text        PRIMARY KEY CHECK (tenant_id ~ '^[0-9a-z]{8}$'),
    installation       text        NOT NULL CHECK (installation <> ''),
    engine             text        NOT NULL,
    stack              text        NOT NULL,
    place              text,
    applied_digest     text,
    applied_time       timestamptz,
    handed             text,
    retained           jsonb       NOT NULL DEFAULT '[]',
    orphans            jsonb       NOT NULL DEFAULT '[]',
    drift_checked_time timestamptz,
    drift              jsonb       NOT NULL DEFAULT '[]',
    recovery_due       boolean     NOT NULL DEFAULT false,
    destroyed_time     timestamptz,
    updated_time       timestamptz NOT NULL DEFAULT now()
);

-- One operation of a tenant at a time: the index is the lock of its stack.
CREATE TABLE paybill.operations (
    id             text        PRIMARY KEY CHECK (id <> ''),
    installation   text        NOT NULL CHECK (installation <> ''),
    tenant_id      text        NOT NULL,
    tenant_name    text        NOT NULL,
    cell           text        NOT NULL,
    tier           text        NOT NULL DEFAULT '',
    engine         text        NOT NULL,
    kind           text        NOT NULL,
    cause          text        NOT NULL DEFAULT '',
    inputs_digest  text        NOT NULL,
    expected       text,
    destructive    boolean     NOT NULL DEFAULT false,
    approved_by    text,
    state          text        NOT NULL CHECK (state IN ('Waiting', 'Running', 'Succeeded', 'Failed', 'Lost')),
    exit_code      integer,
    reason         text,
    message        text,
    changes        jsonb       NOT NULL DEFAULT '[]',
    changes_digest text,
    counts         jsonb       NOT NULL DEFAULT '{}',
    attempt        integer     NOT NULL DEFAULT 1,
    queued_time    timestamptz NOT NULL,
    started_time   timestamptz,
    ended_time     timestamptz,
    CHECK ((ended_time IS NULL) = (state IN ('Waiting', 'Running')))
);
CREATE UNIQUE INDEX operations_one ON paybill.operations (tenant_id) WHERE ended_time IS NULL;
CREATE INDEX operations_of ON paybill.operations (tenant_id, queued_time DESC);
