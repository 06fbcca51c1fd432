-- release: 4
-- Checkouts at a payment provider that sign a customer up: what became of each, kept as long as the installation, so
-- that none is carried out twice. Ids and the Tenant's name only.

CREATE TABLE paybill.signups (
    installation text        NOT NULL CHECK (installation <> ''),
    session      text        NOT NULL CHECK (session <> ''),
    state        text        NOT NULL CHECK (state IN ('Refused', 'Begun', 'Made', 'Dismissed')),
    subscription text        NOT NULL DEFAULT '',
    tenant       text        NOT NULL DEFAULT '',
    plan         text        NOT NULL DEFAULT '',
    reason       text        NOT NULL DEFAULT '',
    message      text        NOT NULL DEFAULT '',
    first_time   timestamptz NOT NULL,
    begun_time   timestamptz,
    settled_time timestamptz,
    PRIMARY KEY (installation, session),
    CHECK ((state = 'Refused') <= (reason <> '')),
    CHECK ((state = 'Begun') <= (begun_time IS NOT NULL AND tenant <> ''))
);
CREATE INDEX signups_refused ON paybill.signups (installation) WHERE state = 'Refused';
CREATE INDEX signups_begun ON paybill.signups (installation, begun_time);
