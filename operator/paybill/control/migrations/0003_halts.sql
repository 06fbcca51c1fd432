-- release: 2
-- What a restart must not forget of halts: the mode that the installation was last in, and the mass changes that were
-- stopped, each until a person allowed it (or nothing was waiting any more).

CREATE TABLE paybill.modes (
    installation text        PRIMARY KEY CHECK (installation <> ''),
    mode         text        NOT NULL CHECK (mode IN ('Full', 'NonDestructive', 'Observe')),
    reason       text        NOT NULL,
    set_by       text        NOT NULL,
    set_time     text        NOT NULL,
    updated_time timestamptz NOT NULL DEFAULT now()
);

-- watermark_time: whatever fell due until then was looked at by whoever ended it and is not counted again.
CREATE TABLE paybill.mass_changes (
    id             text        PRIMARY KEY CHECK (id <> ''),
    installation   text        NOT NULL CHECK (installation <> ''),
    cell           text        NOT NULL,
    cause          text        NOT NULL CHECK (cause IN ('Suspensions', 'Deletions', 'Plans')),
    counted        integer     NOT NULL,
    allowed        integer     NOT NULL,
    tenants        integer     NOT NULL,
    tripped_time   timestamptz NOT NULL,
    ended_time     timestamptz,
    ended_by       text        CHECK (ended_by IN ('Person', 'Nothing left')),
    watermark_time timestamptz,
    CHECK ((ended_time IS NULL) = (ended_by IS NULL) AND (ended_time IS NULL) = (watermark_time IS NULL))
);
CREATE UNIQUE INDEX mass_changes_open ON paybill.mass_changes (installation, cell) WHERE ended_time IS NULL;
CREATE INDEX mass_changes_ended ON paybill.mass_changes (installation, cell, ended_time);
