-- release: 4
-- Hints of payment providers: ids only. The webhook receiver's role may insert the columns above the blank line; the
-- operator grants it that at its start.

CREATE TABLE paybill.inbox (
    installation  text        NOT NULL CHECK (installation <> ''),
    source        text        NOT NULL CHECK (source <> ''),
    id            text        NOT NULL CHECK (id <> ''),
    type          text        NOT NULL,
    object        text        NOT NULL DEFAULT '',
    subscription  text        NOT NULL DEFAULT '',
    customer      text        NOT NULL DEFAULT '',
    created_time  timestamptz NOT NULL,

    received_time timestamptz NOT NULL DEFAULT now(),
    due_time      timestamptz NOT NULL DEFAULT now(),
    attempts      integer     NOT NULL DEFAULT 0,
    outcome       text,
    done_time     timestamptz,
    PRIMARY KEY (installation, source, id)
);
CREATE INDEX inbox_due ON paybill.inbox (installation, due_time) WHERE done_time IS NULL;
CREATE INDEX inbox_received ON paybill.inbox USING brin (received_time);
