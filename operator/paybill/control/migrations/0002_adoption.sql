-- release: 2
-- What an adoption needs. The mark on a tenant's roles and schema is made from origin_uid, the first Tenant's UID,
-- which never changes, while tenant_uid is the UID of the Tenant that holds the row now. A drop that has begun
-- (drop_started_time) cannot be undone by an adoption. continues_uid is the Subscription whose contract an adopted
-- tenant brings along until its new object is there.
--
-- A release that does not know these columns reads and writes the others as before: origin_uid is filled in for it, and
-- a drop that has begun is still a row of state 'deleted', which it completes. It must not run on tenants that were
-- adopted: it would take their marks for a stranger's, and change nothing.

ALTER TABLE paybill.tenants
    ADD COLUMN origin_uid        text,
    ADD COLUMN drop_started_time timestamptz,
    ADD COLUMN adopted_time      timestamptz,
    ADD COLUMN adopted_by        text,
    ADD COLUMN continues_uid     text;
UPDATE paybill.tenants SET origin_uid = tenant_uid;
ALTER TABLE paybill.tenants ALTER COLUMN origin_uid SET NOT NULL;

-- When a contract began whose spec does not say so: the object's creation says it only until it is made anew.
ALTER TABLE paybill.subscription_facts ADD COLUMN start_time timestamptz;

CREATE FUNCTION paybill.tenants_originate() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    new.origin_uid := coalesce(new.origin_uid, new.tenant_uid);
    RETURN new;
END $$;
CREATE TRIGGER tenants_originate BEFORE INSERT ON paybill.tenants
    FOR EACH ROW EXECUTE FUNCTION paybill.tenants_originate();

CREATE OR REPLACE FUNCTION paybill.tenants_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF new.id <> old.id OR new.installation <> old.installation OR new.origin_uid <> old.origin_uid THEN
        RAISE EXCEPTION 'tenant %: id, installation and origin never change', old.id
            USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF old.state = 'dropped' AND new.state <> 'dropped' THEN
        RAISE EXCEPTION 'tenant %: dropped is final', old.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    IF old.drop_started_time IS NOT NULL AND new.state NOT IN ('deleted', 'dropped') THEN
        RAISE EXCEPTION 'tenant %: its drop has begun', old.id USING ERRCODE = 'integrity_constraint_violation';
    END IF;
    new.version := old.version + 1;
    new.updated_time := now();
    RETURN new;
END $$;
