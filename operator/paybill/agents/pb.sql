-- Runs, what their steps may do, what was used, and the journal: made and owned by the keeper, idempotent.
-- An agent holds nothing in here. It gets in through the functions below, which know it by session_user and by no
-- setting: what a session may set (pb.run, pb.step, pb.key) only chooses among what was opened for that login. What
-- leads a run through its workflow is in leading.sql.

CREATE TABLE IF NOT EXISTS pb.agent (
  role text PRIMARY KEY,
  policy_hash text NOT NULL,
  schema_hash text NOT NULL,
  plan_hash text NOT NULL,
  state_hash text NOT NULL DEFAULT '',
  calls_per_minute integer NOT NULL,
  rows_read_per_day bigint NOT NULL,
  rows_written_per_day bigint NOT NULL,
  statement_timeout interval NOT NULL,
  reads text NOT NULL,
  read_day date NOT NULL DEFAULT '-infinity',
  read_ceiling bigint NOT NULL DEFAULT 0
);

-- The tables that the plan was made for: what of them changed can then be named.
ALTER TABLE pb.agent ADD COLUMN IF NOT EXISTS tables jsonb;
ALTER TABLE pb.agent ADD COLUMN IF NOT EXISTS open_runs integer NOT NULL DEFAULT 1000;
-- Which texts of these files its plan was carried out with: another agent's plan may have brought newer ones since.
ALTER TABLE pb.agent ADD COLUMN IF NOT EXISTS books text;

CREATE TABLE IF NOT EXISTS pb.permission (
  role text NOT NULL REFERENCES pb.agent ON DELETE CASCADE,
  collection text NOT NULL,
  operation text NOT NULL CHECK (operation IN ('get', 'list', 'aggregate', 'create', 'update', 'delete')),
  max_rows integer NOT NULL,
  PRIMARY KEY (role, collection, operation)
);

CREATE TABLE IF NOT EXISTS pb.run (
  id uuid PRIMARY KEY,
  role text NOT NULL REFERENCES pb.agent,
  workflow_hash text NOT NULL,
  policy_hash text NOT NULL,
  schema_hash text NOT NULL,
  opened_time timestamptz NOT NULL DEFAULT clock_timestamp(),
  deadline timestamptz NOT NULL,
  closed_time timestamptz,
  max_calls integer NOT NULL,
  max_rows_read bigint NOT NULL,
  max_rows_written bigint NOT NULL,
  calls integer NOT NULL DEFAULT 0 CHECK (calls <= max_calls),
  rows_read bigint NOT NULL DEFAULT 0 CHECK (rows_read <= max_rows_read),
  rows_written bigint NOT NULL DEFAULT 0 CHECK (rows_written <= max_rows_written),
  seq bigint NOT NULL DEFAULT 0,
  head bytea NOT NULL DEFAULT decode(repeat('00', 32), 'hex')
);

CREATE INDEX IF NOT EXISTS run_open ON pb.run (role) WHERE closed_time IS NULL;

-- Of a run that is led through its workflow (leading.sql): what it was begun with, how it stands, and the call that is
-- being made in this transaction. Runs of before are led through none.
ALTER TABLE pb.run ADD COLUMN IF NOT EXISTS led boolean NOT NULL DEFAULT false;
ALTER TABLE pb.run ADD COLUMN IF NOT EXISTS input jsonb;
ALTER TABLE pb.run ADD COLUMN IF NOT EXISTS walk jsonb;
ALTER TABLE pb.run ADD COLUMN IF NOT EXISTS going jsonb;

CREATE TABLE IF NOT EXISTS pb.step_grant (
  run uuid NOT NULL REFERENCES pb.run,
  step text NOT NULL CHECK (length(step) BETWEEN 1 AND 63),
  collection text NOT NULL,
  operation text NOT NULL,
  max_calls integer NOT NULL,
  max_rows integer NOT NULL,
  calls integer NOT NULL DEFAULT 0 CHECK (calls <= max_calls),
  closed_time timestamptz,
  PRIMARY KEY (run, step, collection, operation)
);

CREATE TABLE IF NOT EXISTS pb.usage (
  role text NOT NULL,
  span text NOT NULL CHECK (span IN ('day', 'minute')),
  start timestamptz NOT NULL,
  used bigint NOT NULL,
  PRIMARY KEY (role, span, start)
);

CREATE TABLE IF NOT EXISTS pb.journal (
  run uuid NOT NULL REFERENCES pb.run,
  seq bigint NOT NULL,
  time timestamptz NOT NULL,
  role text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('opened', 'call', 'decision', 'approval', 'compensation', 'expired', 'closed')),
  step text,
  collection text,
  operation text,
  rows bigint,
  digest text,
  key text CHECK (length(key) <= 200),
  workflow_hash text NOT NULL,
  policy_hash text NOT NULL,
  schema_hash text NOT NULL,
  prev_hash bytea NOT NULL,
  hash bytea NOT NULL,
  PRIMARY KEY (run, seq)
);
CREATE UNIQUE INDEX IF NOT EXISTS journal_once ON pb.journal (run, step, key) WHERE key IS NOT NULL;

-- What a write answered, so that who asks again with the same key is told the same; a key of its row, never more.
CREATE TABLE IF NOT EXISTS pb.answer (
  run uuid NOT NULL REFERENCES pb.run,
  step text NOT NULL,
  key text NOT NULL CHECK (length(key) BETWEEN 1 AND 200),
  request text NOT NULL,
  answer jsonb NOT NULL,
  PRIMARY KEY (run, step, key)
);

-- One more row of a run's chain; whoever calls it has locked the run. agents/journal.py reads the same bytes.
CREATE OR REPLACE FUNCTION pb.append(
  p_run uuid, p_kind text, p_step text, p_collection text, p_operation text, p_rows bigint, p_digest text, p_key text
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_run pb.run;
  v_now timestamptz := clock_timestamp();
  v_hash bytea;
BEGIN
  SELECT * INTO STRICT v_run FROM pb.run r WHERE r.id = p_run;
  v_hash := sha256(convert_to('paybill.journal.v1' || chr(10), 'UTF8') || v_run.head || convert_to(jsonb_build_array(
    p_run, v_run.seq + 1, to_char(v_now AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"'), v_run.role, p_kind,
    p_step, p_collection, p_operation, p_rows, p_digest, p_key,
    v_run.workflow_hash, v_run.policy_hash, v_run.schema_hash, encode(v_run.head, 'hex'))::text, 'UTF8'));
  INSERT INTO pb.journal VALUES (p_run, v_run.seq + 1, v_now, v_run.role, p_kind, p_step, p_collection, p_operation,
    p_rows, p_digest, p_key, v_run.workflow_hash, v_run.policy_hash, v_run.schema_hash, v_run.head, v_hash);
  UPDATE pb.run SET seq = seq + 1, head = v_hash WHERE id = p_run;
END $$;

-- A run in which something may be done now, locked; what undoes is not late.
CREATE OR REPLACE FUNCTION pb.locked(p_run uuid, p_role text) RETURNS pb.run
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_run pb.run;
BEGIN
  SELECT r.* INTO v_run FROM pb.run r WHERE r.id = p_run AND r.role = p_role FOR NO KEY UPDATE;
  IF NOT FOUND OR v_run.closed_time IS NOT NULL
     OR (v_run.deadline <= clock_timestamp() AND v_run.walk ->> 'next' IS DISTINCT FROM 'compensation')
     OR NOT EXISTS (SELECT FROM pb.agent a WHERE a.role = p_role AND a.policy_hash = v_run.policy_hash
                       AND a.schema_hash = v_run.schema_hash) THEN
    RAISE EXCEPTION 'there is no open run' USING ERRCODE = 'PA001';
  END IF;
  RETURN v_run;
END $$;

-- The one place where a call is allowed or not: the run of this session, when its agent may make such a call at all.
CREATE OR REPLACE FUNCTION pb.admitted(p_collection text, p_operation text, p_rows bigint) RETURNS pb.run
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_agent pb.agent;
  v_most integer;
  v_used bigint;
BEGIN
  SELECT * INTO v_agent FROM pb.agent a WHERE a.role = session_user;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'this login is no agent' USING ERRCODE = 'PA001';
  END IF;
  SELECT p.max_rows INTO v_most FROM pb.permission p
   WHERE p.role = session_user AND p.collection = p_collection AND p.operation = p_operation;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'the policy does not grant this' USING ERRCODE = 'PA002';
  ELSIF p_rows > v_most THEN
    RAISE EXCEPTION 'more rows than the policy grants' USING ERRCODE = 'PA003';
  END IF;
  IF p_operation IN ('get', 'list', 'aggregate') THEN
    -- A sequence does not go back with a rollback: what was seen stays counted. Its ceiling is not the agent's to move.
    SELECT max(nextval(format('pb.%I', v_agent.reads)::regclass)) INTO v_used
      FROM generate_series(1, greatest(p_rows, 1));
    IF v_used > v_agent.read_ceiling OR v_agent.read_day <> (clock_timestamp() AT TIME ZONE 'UTC')::date THEN
      RAISE EXCEPTION 'the rows to be read on this day are used up' USING ERRCODE = 'PA003';
    END IF;
  END IF;
  RETURN pb.locked(nullif(current_setting('pb.run', true), '')::uuid, session_user);
END $$;

-- The same for its step and every budget, and the one place where a call is counted, in the transaction of its effect.
-- One that is made again, because its answer was lost, is no further call of its step.
CREATE OR REPLACE FUNCTION pb.spent(
  p_run pb.run, p_step text, p_collection text, p_operation text, p_rows bigint, p_again boolean
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_writes boolean := p_operation IN ('create', 'update', 'delete');
  v_agent pb.agent;
  v_grant pb.step_grant;
  v_used bigint;
  v_now timestamptz := clock_timestamp();
BEGIN
  SELECT * INTO v_grant FROM pb.step_grant g WHERE g.run = p_run.id AND g.step = p_step
     AND g.collection = p_collection AND g.operation = p_operation AND g.closed_time IS NULL FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'this step may not do this' USING ERRCODE = 'PA002';
  ELSIF (v_grant.calls >= v_grant.max_calls AND NOT p_again) OR p_rows > v_grant.max_rows THEN
    RAISE EXCEPTION 'the step has no calls left, or not for so many rows' USING ERRCODE = 'PA003';
  ELSIF p_run.calls >= p_run.max_calls
     OR (v_writes AND p_run.rows_written + p_rows > p_run.max_rows_written)
     OR (NOT v_writes AND p_run.rows_read + p_rows > p_run.max_rows_read) THEN
    RAISE EXCEPTION 'the budget of the run is used up' USING ERRCODE = 'PA003';
  END IF;
  SELECT * INTO STRICT v_agent FROM pb.agent a WHERE a.role = p_run.role;
  IF v_writes THEN
    INSERT INTO pb.usage AS u VALUES (session_user, 'day', date_trunc('day', v_now, 'UTC'), p_rows)
      ON CONFLICT (role, span, start) DO UPDATE SET used = u.used + excluded.used RETURNING u.used INTO v_used;
    IF v_used > v_agent.rows_written_per_day THEN
      RAISE EXCEPTION 'the rows to be written on this day are used up' USING ERRCODE = 'PA003';
    END IF;
  END IF;
  INSERT INTO pb.usage AS u VALUES (session_user, 'minute', date_trunc('minute', v_now, 'UTC'), 1)
    ON CONFLICT (role, span, start) DO UPDATE SET used = u.used + 1 RETURNING u.used INTO v_used;
  IF v_used > v_agent.calls_per_minute THEN
    RAISE EXCEPTION 'more calls in a minute than the policy grants' USING ERRCODE = 'PA004';
  END IF;
  UPDATE pb.step_grant g SET calls = g.calls + 1 WHERE g.run = p_run.id AND g.step = p_step
     AND g.collection = p_collection AND g.operation = p_operation AND NOT p_again;
  UPDATE pb.run r SET calls = r.calls + 1,
         rows_written = r.rows_written + CASE WHEN v_writes THEN p_rows ELSE 0 END,
         rows_read = r.rows_read + CASE WHEN v_writes THEN 0 ELSE p_rows END
   WHERE r.id = p_run.id;
END $$;

-- A call of a run that no workflow leads: its step and key are what the session says, and its step's grants bound it.
CREATE OR REPLACE FUNCTION pb.called(p_run pb.run, p_collection text, p_operation text, p_rows bigint, p_digest text)
RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_step text := current_setting('pb.step', true);
BEGIN
  PERFORM pb.spent(p_run, v_step, p_collection, p_operation, p_rows, false);
  PERFORM pb.append(p_run.id, 'call', v_step, p_collection, p_operation, p_rows, p_digest,
    nullif(current_setting('pb.key', true), ''));
EXCEPTION WHEN unique_violation THEN
  RAISE EXCEPTION 'this was done already' USING ERRCODE = 'PA005';
END $$;

-- A write, by its trigger. In a run that is led, only what a gate asked about before is written; the gate tells of it.
CREATE OR REPLACE FUNCTION pb.charge(p_collection text, p_operation text, p_rows bigint, p_digest text)
RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_run pb.run := pb.admitted(p_collection, p_operation, p_rows);
BEGIN
  IF NOT v_run.led THEN
    PERFORM pb.called(v_run, p_collection, p_operation, p_rows, p_digest);
  ELSIF v_run.going ->> 'transaction' = pg_current_xact_id()::text AND NOT v_run.going ? 'effect'
     AND v_run.going ->> 'uses' = p_collection || '.' || p_operation THEN
    PERFORM pb.spent(v_run, v_run.going ->> 'step', p_collection, p_operation, p_rows, false);
    UPDATE pb.run r SET going = v_run.going || jsonb_build_object('effect', p_digest, 'wrote', p_rows)
     WHERE r.id = v_run.id;
  ELSE
    RAISE EXCEPTION 'this is not what comes next in this run' USING ERRCODE = 'PA002';
  END IF;
END $$;

-- A read, by its gate: `p_said` is what was asked, `p_first` the first row of the answer.
CREATE OR REPLACE FUNCTION pb.saw(
  p_collection text, p_operation text, p_rows bigint, p_said jsonb, p_first jsonb, p_types jsonb
) RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_run pb.run := pb.admitted(p_collection, p_operation, p_rows);
  v_digest text := pb.digest(p_said::text);
  v_again boolean;
  v_call jsonb;
BEGIN
  IF NOT v_run.led THEN
    PERFORM pb.called(v_run, p_collection, p_operation, p_rows, v_digest);
    RETURN;
  END IF;
  v_again := pb.asked(v_run.walk, p_collection || '.' || p_operation, p_said, p_types) = 'again';
  v_call := v_run.walk -> CASE WHEN v_again THEN 'last' ELSE 'call' END;
  PERFORM pb.spent(v_run, v_call ->> 'step', p_collection, p_operation, p_rows, v_again);
  IF v_again THEN
    PERFORM pb.append(v_run.id, 'call', v_call ->> 'step', p_collection, p_operation, p_rows, v_digest, NULL);
  ELSE
    PERFORM pb.event(v_run, v_run.walk ->> 'next', v_call, p_rows, v_digest, NULL, p_first, '');
  END IF;
END $$;

DROP FUNCTION IF EXISTS pb.answered(text);  -- of before any run was led

-- Asked by the gates before they write: what was answered to the same request under the key of this session; NULL when
-- it was not made yet. A key that stood for another request is refused: the agent would be told that something was done
-- which was not. In a run that is led, what does not come next is refused here.
CREATE OR REPLACE FUNCTION pb.answered(p_request text, p_uses text, p_said jsonb, p_types jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_id uuid := nullif(current_setting('pb.run', true), '')::uuid;
  v_step text := current_setting('pb.step', true);
  v_key text := current_setting('pb.key', true);
  v_run pb.run;
  v_asked text := '';
  v_call jsonb;
  v_answer pb.answer;
BEGIN
  IF EXISTS (SELECT FROM pb.run r WHERE r.id = v_id AND r.role = session_user AND r.led) THEN
    v_run := pb.locked(v_id, session_user);
    v_asked := pb.asked(v_run.walk, p_uses, p_said, p_types);
    v_call := v_run.walk -> CASE v_asked WHEN 'again' THEN 'last' ELSE 'call' END;
    v_step := v_call ->> 'step';
    v_key := v_call ->> 'key';
  END IF;
  SELECT a.* INTO v_answer FROM pb.answer a JOIN pb.run r ON r.id = a.run AND r.role = session_user
   WHERE a.run = v_id AND a.step = v_step AND a.key = v_key;
  IF v_answer.request <> p_request THEN
    RAISE EXCEPTION 'this key stands for another request' USING ERRCODE = 'PA008';
  ELSIF v_asked = 'next' AND v_answer.request IS NULL THEN
    UPDATE pb.run r SET going = v_call || jsonb_build_object('transaction', pg_current_xact_id()::text) WHERE r.id = v_id;
  ELSIF v_asked = 'next' THEN
    -- Its effect is there from an earlier time that the run came here: nothing is written, and the run goes on.
    PERFORM pb.event(v_run, v_run.walk ->> 'next', v_call, 0, NULL, NULL, v_answer.answer, '');
  END IF;
  RETURN v_answer.answer;
END $$;

-- Called by the gates after the trigger charged the write, so the run is one of this login's.
CREATE OR REPLACE FUNCTION pb.remember(p_request text, p_answer jsonb) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_run pb.run;
  v_step text := current_setting('pb.step', true);
  v_key text := nullif(current_setting('pb.key', true), '');
BEGIN
  SELECT r.* INTO STRICT v_run FROM pb.run r WHERE r.id = current_setting('pb.run')::uuid AND r.role = session_user;
  IF v_run.led THEN
    v_step := v_run.going ->> 'step';
    v_key := v_run.going ->> 'key';
    PERFORM pb.event(v_run, v_run.walk ->> 'next', v_run.walk -> 'call', (v_run.going ->> 'wrote')::bigint,
      v_run.going ->> 'effect', v_key, p_answer, '');
  END IF;
  IF v_key IS NOT NULL THEN
    INSERT INTO pb.answer VALUES (v_run.id, v_step, v_key, p_request, p_answer);
  END IF;
END $$;

-- After every statement of an agent that writes: the digest is of the rows as they became, not of what it said.
CREATE OR REPLACE FUNCTION pb.on_write() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO' SET IntervalStyle = 'iso_8601'
SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
DECLARE
  v_rows bigint;
  v_effect text;
BEGIN
  IF TG_OP = 'DELETE' THEN
    SELECT count(*), string_agg(to_jsonb(r)::text, ',' ORDER BY to_jsonb(r)::text) INTO v_rows, v_effect FROM old_rows r;
  ELSE
    SELECT count(*), string_agg(to_jsonb(r)::text, ',' ORDER BY to_jsonb(r)::text) INTO v_rows, v_effect FROM new_rows r;
  END IF;
  PERFORM pb.charge(
    TG_TABLE_NAME, CASE TG_OP WHEN 'INSERT' THEN 'create' ELSE lower(TG_OP) END, v_rows, pb.digest(v_effect));
  RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION pb.digest(p_text text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT 'sha256:' || encode(sha256(convert_to(coalesce(p_text, ''), 'UTF8')), 'hex') $$;

-- Before a write that, if it is refused, tells of a row that the agent may not see: it is counted as a row read, also
-- when nothing comes of it, and nobody is told anything outside of a step that may do it.
CREATE OR REPLACE FUNCTION pb.may_tell(p_collection text, p_operation text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_agent pb.agent;
  v_run pb.run;
  v_left integer;
BEGIN
  SELECT * INTO v_agent FROM pb.agent a WHERE a.role = session_user;
  SELECT * INTO v_run FROM pb.run r WHERE r.id = nullif(current_setting('pb.run', true), '')::uuid
     AND r.role = session_user AND r.closed_time IS NULL
     AND (r.deadline > clock_timestamp() OR r.walk ->> 'next' = 'compensation')
     AND r.policy_hash = v_agent.policy_hash AND r.schema_hash = v_agent.schema_hash;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no open run' USING ERRCODE = 'PA001';
  ELSIF v_run.led AND v_run.going ->> 'transaction' IS DISTINCT FROM pg_current_xact_id()::text THEN
    RAISE EXCEPTION 'this is not what comes next in this run' USING ERRCODE = 'PA002';
  END IF;
  SELECT least(g.max_calls - g.calls, v_run.max_calls - v_run.calls) INTO v_left FROM pb.step_grant g
   WHERE g.run = v_run.id
     AND g.step = CASE WHEN v_run.led THEN v_run.going ->> 'step' ELSE current_setting('pb.step', true) END
     AND g.collection = p_collection AND g.operation = p_operation AND g.closed_time IS NULL;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'this step may not do this' USING ERRCODE = 'PA002';
  ELSIF v_left <= 0 THEN
    RAISE EXCEPTION 'the run has no calls left' USING ERRCODE = 'PA003';
  END IF;
  IF nextval(format('pb.%I', v_agent.reads)::regclass) > v_agent.read_ceiling
     OR v_agent.read_day <> (clock_timestamp() AT TIME ZONE 'UTC')::date THEN
    RAISE EXCEPTION 'the rows to be read on this day are used up' USING ERRCODE = 'PA003';
  END IF;
END $$;

-- Conditions as SQL. Names come out of p_types alone, values are quoted by the server and cast to the column's type.
CREATE OR REPLACE FUNCTION pb.clauses(p_conditions jsonb, p_types jsonb, p_required text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_one jsonb;
  v_field text;
  v_type text;
  v_clauses text[] := ARRAY['true'];
BEGIN
  IF p_conditions IS NULL OR jsonb_typeof(p_conditions) <> 'array' OR jsonb_array_length(p_conditions) > 10 THEN
    RAISE EXCEPTION 'conditions are a list of at most 10' USING ERRCODE = 'PA006';
  END IF;
  FOR v_one IN SELECT jsonb_array_elements(p_conditions) LOOP
    v_field := v_one ->> 'field';
    v_type := p_types ->> v_field;
    IF jsonb_typeof(v_one) <> 'object' OR v_type IS NULL THEN
      RAISE EXCEPTION 'there is no such field to choose by' USING ERRCODE = 'PA006';
    END IF;
    CASE v_one ->> 'op'
      WHEN 'eq' THEN
        v_clauses := v_clauses || format('%I = %L::%s', v_field, v_one ->> 'value', v_type);
        p_required := array_remove(p_required, v_field);
      WHEN 'ne' THEN v_clauses := v_clauses || format('%I <> %L::%s', v_field, v_one ->> 'value', v_type);
      WHEN 'lt' THEN v_clauses := v_clauses || format('%I < %L::%s', v_field, v_one ->> 'value', v_type);
      WHEN 'lte' THEN v_clauses := v_clauses || format('%I <= %L::%s', v_field, v_one ->> 'value', v_type);
      WHEN 'gt' THEN v_clauses := v_clauses || format('%I > %L::%s', v_field, v_one ->> 'value', v_type);
      WHEN 'gte' THEN v_clauses := v_clauses || format('%I >= %L::%s', v_field, v_one ->> 'value', v_type);
      WHEN 'isNull' THEN v_clauses := v_clauses || format('%I IS NULL', v_field);
      WHEN 'startsWith' THEN v_clauses := v_clauses || format('starts_with(%I::text, %L)', v_field, v_one ->> 'value');
      WHEN 'in' THEN
        IF jsonb_typeof(v_one -> 'values') IS DISTINCT FROM 'array'
           OR jsonb_array_length(v_one -> 'values') NOT BETWEEN 1 AND 100 THEN
          RAISE EXCEPTION 'op in takes 1 to 100 values' USING ERRCODE = 'PA006';
        END IF;
        v_clauses := v_clauses || format('%I IN (%s)', v_field, (
          SELECT string_agg(format('%L::%s', v, v_type), ', ') FROM jsonb_array_elements_text(v_one -> 'values') v));
      ELSE RAISE EXCEPTION 'there is no such op' USING ERRCODE = 'PA006';
    END CASE;
  END LOOP;
  IF cardinality(p_required) > 0 THEN
    RAISE EXCEPTION 'these fields must be given one value: %', array_to_string(p_required, ', ') USING ERRCODE = 'PA006';
  END IF;
  RETURN array_to_string(v_clauses, ' AND ');
END $$;

CREATE OR REPLACE FUNCTION pb.key(p_key jsonb, p_types jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF p_key IS NULL OR jsonb_typeof(p_key) <> 'object' THEN
    RAISE EXCEPTION 'a key is an object' USING ERRCODE = 'PA006';
  END IF;
  RETURN pb.clauses(
    (SELECT coalesce(jsonb_agg(jsonb_build_object('field', k, 'op', 'eq', 'value', v)), '[]')
       FROM jsonb_each_text(p_key) e (k, v)),
    p_types, ARRAY(SELECT jsonb_object_keys(p_types)));
END $$;

CREATE OR REPLACE FUNCTION pb.sorting(p_sort jsonb, p_sortable text[], p_last text) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_one jsonb;
  v_order text := '';
BEGIN
  IF p_sort IS NULL OR jsonb_typeof(p_sort) <> 'array' OR jsonb_array_length(p_sort) > 2 THEN
    RAISE EXCEPTION 'sort is a list of at most 2' USING ERRCODE = 'PA006';
  END IF;
  FOR v_one IN SELECT jsonb_array_elements(p_sort) LOOP
    IF NOT coalesce(v_one ->> 'field' = ANY (p_sortable), false) THEN
      RAISE EXCEPTION 'there is no such field to sort by' USING ERRCODE = 'PA006';
    END IF;
    v_order := v_order || format('%I %s, ', v_one ->> 'field',
      CASE WHEN v_one -> 'descending' = 'true' THEN 'DESC' ELSE 'ASC' END);
  END LOOP;
  RETURN v_order || p_last;
END $$;

CREATE OR REPLACE FUNCTION pb.assignments(
  p_values jsonb, p_types jsonb, OUT columns text, OUT given text, OUT changes text
) LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF p_values IS NULL OR jsonb_typeof(p_values) <> 'object' THEN
    RAISE EXCEPTION 'values are an object' USING ERRCODE = 'PA006';
  ELSIF EXISTS (SELECT FROM jsonb_object_keys(p_values) k WHERE p_types ->> k IS NULL) THEN
    RAISE EXCEPTION 'there is no such field to write' USING ERRCODE = 'PA006';
  END IF;
  SELECT string_agg(format('%I', k), ', ' ORDER BY k), string_agg(format('%L::%s', v, p_types ->> k), ', ' ORDER BY k),
         string_agg(format('%I = %L::%s', k, v, p_types ->> k), ', ' ORDER BY k)
    INTO columns, given, changes FROM jsonb_each_text(p_values) e (k, v);
END $$;
