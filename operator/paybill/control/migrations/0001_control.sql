-- release: 1
-- The control database: who leads (epochs), which tenants exist and where (tenants, placements), what happened to
-- subscriptions (subscription_facts), and what was done (audit_log). Every name is qualified: sessions look in
-- pg_catalog first, and nothing of ours may land there.

CREATE TABLE paybill.epochs (
    shard      text        PRIMARY KEY,
    epoch      bigint      NOT NULL CHECK (epoch > 0),
    holder     text        NOT NULL,
    taken_time timestamptz NOT NULL DEFAULT now()
);

CREATE TABLE paybill.tenants (
    id                    text        PRIMARY KEY CHECK (id ~ '^[0-9a-z]{8}$'),
    installation          text        NOT NULL CHECK (installation <> ''),
    tenant_name           text        NOT NULL CHECK (tenant_name <> ''),
    tenant_uid            text        NOT NULL CHECK (tenant_uid <> ''),
    state                 text        NOT NULL DEFAULT 'claimed'
                                      CHECK (state IN ('claimed', 'released', 'deleted', 'dropped')),
    cell                  text        NOT NULL,
    server                text        NOT NULL DEFAULT '',
    compute               text        NOT NULL,
    level                 text        NOT NULL,
    pool_database         text,
    plan_name             text,
    plan_revision         text,
    subscription_name     text,
    subscription_uid      text,
    binding_uid           text,
    binding_version       text,
    ready_time            timestamptz,
    delete_requested_time timestamptz,
    drop_after            timestamptz,
    deletion_policy       text        CHECK (deletion_policy IN ('Retain', 'Snapshot', 'Delete')),
    created_time          timestamptz NOT NULL DEFAULT now(),
    updated_time          timestamptz NOT NULL DEFAULT now(),
    version               bigint      NOT NULL DEFAULT 1,
    CHECK (state <> 'deleted' OR (delete_requested_time IS NOT NULL AND drop_after IS NOT NULL))
);
CREATE UNIQUE INDEX tenants_live_uid ON paybill.tenants (tenant_uid) WHERE state <> 'dropped';
CREATE INDEX tenants_installation ON paybill.tenants (installation) WHERE state <> 'dropped';

-- How many tenants sit on each server of each cell: one row to lock and read instead of a count over all tenants.
CREATE TABLE paybill.placements (
    installation text    NOT NULL,
    cell         text    NOT NULL,
    server       text    NOT NULL,
    tenants      integer NOT NULL CHECK (tenants >= 0),
    PRIMARY KEY (installation, cell, server)
);

-- Counted by the database itself, so that an edit by hand is counted too. Whoever places, moves or drops holds the
-- installation's lock until the end of the transaction: a server's first tenant has no row yet that could be locked.
CREATE FUNCTION paybill.place_lock(installation text) RETURNS void LANGUAGE sql AS
    'SELECT pg_advisory_xact_lock(1885434987, hashtext(installation))';
CREATE FUNCTION paybill.tenants_counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM paybill.place_lock(new.installation);
    IF tg_op = 'UPDATE' THEN
        UPDATE paybill.placements AS p SET tenants = p.tenants - 1
        WHERE old.state <> 'dropped' AND (p.installation, p.cell, p.server) = (old.installation, old.cell, old.server);
    END IF;
    INSERT INTO paybill.placements AS p (installation, cell, server, tenants)
    SELECT new.installation, new.cell, new.server, 1 WHERE new.state <> 'dropped'
    ON CONFLICT (installation, cell, server) DO UPDATE SET tenants = p.tenants + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER tenants_placed AFTER INSERT ON paybill.tenants
    FOR EACH ROW EXECUTE FUNCTION paybill.tenants_counted();
CREATE TRIGGER tenants_moved AFTER UPDATE ON paybill.tenants
    FOR EACH ROW WHEN ((old.cell, old.server, old.state = 'dropped') <> (new.cell, new.server, new.state = 'dropped'))
    EXECUTE FUNCTION paybill.tenants_counted();

-- An id is never used again, so its row never goes; and an edit by hand shows as a new version to whoever holds the old.
CREATE FUNCTION paybill.tenants_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.id <> old.id OR new.installation <> old.installation THEN
        RAISE EXCEPTION 'tenant %: id and installation never change', old.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF old.state = 'dropped' AND new.state <> 'dropped' THEN
        RAISE EXCEPTION 'tenant %: dropped is final', old.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    new.version := old.version + 1;
    new.updated_time := now();
    RETURN new;
END $$;
CREATE TRIGGER tenants_changed BEFORE UPDATE ON paybill.tenants
    FOR EACH ROW EXECUTE FUNCTION paybill.tenants_changed();

CREATE FUNCTION paybill.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% refuses %: its rows are kept for ever', tg_table_name, tg_op USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER tenants_stay BEFORE DELETE OR TRUNCATE ON paybill.tenants
    FOR EACH STATEMENT EXECUTE FUNCTION paybill.refuse();
ALTER TABLE paybill.tenants ENABLE ALWAYS TRIGGER tenants_stay;

CREATE TABLE paybill.subscription_facts (
    subscription_uid   text        PRIMARY KEY,
    installation       text        NOT NULL,
    tenant_uid         text,
    phase              text        NOT NULL,
    trial_start_time   timestamptz,
    suspended_time     timestamptz,
    ended_time         timestamptz,
    archived_time      timestamptz,
    abandoned_time     timestamptz,
    requested_end_time timestamptz,
    last_known         jsonb,
    holds              jsonb       NOT NULL DEFAULT '[]',
    updated_time       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX subscription_facts_installation ON paybill.subscription_facts (installation);

-- seq is drawn before a row is hashed (so it is part of the hash); n counts inside one writer's chain.
CREATE SEQUENCE paybill.audit_seq AS bigint;
CREATE TABLE paybill.audit_log (
    seq           bigint      PRIMARY KEY,
    writer        uuid        NOT NULL,
    n             bigint      NOT NULL CHECK (n > 0),
    time          timestamptz NOT NULL,
    shard         text        NOT NULL,
    epoch         bigint      NOT NULL,
    kind          text        NOT NULL CHECK (kind IN ('intent', 'outcome')),
    step          uuid        NOT NULL,
    tenant_id     text,
    object        text        NOT NULL,
    action        text        NOT NULL,
    cause         text        NOT NULL,
    cell          text,
    inputs_digest text,
    result        text,
    reason        text,
    destructive   boolean     NOT NULL,
    prev_hash     bytea       NOT NULL CHECK (length(prev_hash) = 32),
    hash          bytea       NOT NULL CHECK (length(hash) = 32),
    UNIQUE (writer, n),
    UNIQUE (step, kind),
    CHECK ((kind = 'outcome') = (result IS NOT NULL))
);
ALTER SEQUENCE paybill.audit_seq OWNED BY paybill.audit_log.seq;
CREATE INDEX audit_log_tenant ON paybill.audit_log (tenant_id, seq);
CREATE INDEX audit_log_time ON paybill.audit_log USING brin (time);
-- The hourly budgets of destructive actions are counted from here.
CREATE INDEX audit_log_destructive ON paybill.audit_log (action, cell, time) WHERE destructive AND kind = 'intent';

CREATE TRIGGER audit_log_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON paybill.audit_log
    FOR EACH STATEMENT EXECUTE FUNCTION paybill.refuse();
ALTER TABLE paybill.audit_log ENABLE ALWAYS TRIGGER audit_log_append_only;
