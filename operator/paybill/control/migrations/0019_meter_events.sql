-- release: 4
-- What payment providers are told of tenants' use: one event per tenant, meter and hour, kept before it is sent; and up
-- to which hour a contract's meter was counted. tried_time: since when it may have arrived without an answer.

CREATE TABLE paybill.meter_cursors (
    installation     text        NOT NULL CHECK (installation <> ''),
    subscription_uid text        NOT NULL,
    meter            text        NOT NULL,
    until_time       timestamptz NOT NULL,
    PRIMARY KEY (installation, subscription_uid, meter)
);
CREATE TABLE paybill.meter_events (
    installation     text        NOT NULL CHECK (installation <> ''),
    id               text        NOT NULL CHECK (id <> ''),
    subscription_uid text        NOT NULL,
    tenant_id        text        NOT NULL,
    meter            text        NOT NULL,
    customer         text        NOT NULL,
    hour             timestamptz NOT NULL,
    value            bigint      NOT NULL CHECK (value >= 0),
    state            text        NOT NULL DEFAULT 'Waiting' CHECK (state IN ('Waiting', 'Sent', 'Expired', 'Unsure')),
    refused          boolean     NOT NULL DEFAULT false,
    due_time         timestamptz NOT NULL,
    tried_time       timestamptz,
    attempts         integer     NOT NULL DEFAULT 0,
    answer           text,
    settled_time     timestamptz,
    PRIMARY KEY (installation, id),
    CHECK ((state = 'Waiting') = (settled_time IS NULL))
);
CREATE INDEX meter_events_due ON paybill.meter_events (installation, due_time, hour) WHERE state = 'Waiting';
CREATE INDEX meter_events_open ON paybill.meter_events (installation) WHERE state <> 'Sent';
CREATE INDEX meter_events_settled ON paybill.meter_events USING brin (settled_time);
