-- release: 4
-- Up to when the events of a source were asked for, beside those it sends: what is lost on the way is found there.

CREATE TABLE paybill.inbox_cursors (
    installation text        NOT NULL CHECK (installation <> ''),
    source       text        NOT NULL CHECK (source <> ''),
    until_time   timestamptz NOT NULL,
    PRIMARY KEY (installation, source)
);
