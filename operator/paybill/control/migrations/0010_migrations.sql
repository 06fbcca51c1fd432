-- release: 4
-- How far the provider's migrations have come: the fleet at one look. What ran where is in the ledgers, with the tables.

CREATE TABLE paybill.migrations (
    subject         text        PRIMARY KEY CHECK (subject <> ''), -- a tenant's id, or pool/<cell>/<server>
    installation    text        NOT NULL CHECK (installation <> ''),
    cell            text        NOT NULL,
    version         integer     NOT NULL DEFAULT 0,
    failed_version  integer,
    failed_checksum text,
    failed_time     timestamptz,
    reason          text,
    message         text,
    updated_time    timestamptz NOT NULL DEFAULT now()
);

-- What has run anywhere in a cell may not change any more.
CREATE TABLE paybill.migration_files (
    installation text        NOT NULL CHECK (installation <> ''),
    cell         text        NOT NULL,
    version      integer     NOT NULL,
    name         text        NOT NULL,
    checksum     text        NOT NULL,
    first_time   timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (installation, cell, version)
);
