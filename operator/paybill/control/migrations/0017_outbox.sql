-- release: 4
-- Messages for other systems, each in the transaction of what it tells of.

CREATE TABLE paybill.outbox (
    seq          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    installation text        NOT NULL CHECK (installation <> ''),
    id           text        NOT NULL CHECK (id <> ''),
    type         text        NOT NULL,
    subject      text        NOT NULL,
    about        text        NOT NULL,
    time         timestamptz NOT NULL,
    data         jsonb       NOT NULL,
    state        text        NOT NULL DEFAULT 'Waiting' CHECK (state IN ('Waiting', 'Acknowledged', 'Dead')),
    created_time timestamptz NOT NULL DEFAULT now(),
    due_time     timestamptz NOT NULL DEFAULT now(),
    attempts     integer     NOT NULL DEFAULT 0,
    answer       text,
    settled_time timestamptz,
    UNIQUE (installation, id),
    CHECK ((state = 'Waiting') = (settled_time IS NULL))
);
CREATE INDEX outbox_due ON paybill.outbox (installation, due_time, seq) WHERE state = 'Waiting';
CREATE INDEX outbox_open ON paybill.outbox (installation) WHERE state <> 'Acknowledged';
CREATE INDEX outbox_settled ON paybill.outbox USING brin (settled_time);
