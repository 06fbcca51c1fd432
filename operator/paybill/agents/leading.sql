-- How a run is led through its workflow: where it stands, what comes next, and who may say that something happened.
-- The walk is the same as agents/interpreter.py, one event at a time; tests hold the two against each other. What an
-- event answered is kept as far as an expression of the workflow names it, here and never in the journal.

CREATE TABLE IF NOT EXISTS pb.workflow (
  hash text PRIMARY KEY,
  spec jsonb NOT NULL,
  named jsonb NOT NULL
);

CREATE TABLE IF NOT EXISTS pb.value (
  run uuid NOT NULL REFERENCES pb.run,
  seq bigint NOT NULL,
  effect text NOT NULL,
  call text NOT NULL,
  "values" jsonb NOT NULL,
  error text NOT NULL,
  PRIMARY KEY (run, seq)
);

CREATE TABLE IF NOT EXISTS pb.approval (
  run uuid NOT NULL REFERENCES pb.run,
  step text NOT NULL,
  entered integer NOT NULL,
  digest text NOT NULL,
  approval text NOT NULL UNIQUE,
  approver text NOT NULL,
  time timestamptz NOT NULL DEFAULT clock_timestamp(),
  denied boolean NOT NULL,
  PRIMARY KEY (run, step, entered)
);

-- One text for one value, so that a hash names it: the bytes of api/canonical.py. A number that is no integer is
-- written as a text, because readers round it.
CREATE OR REPLACE FUNCTION pb.canonical(p_value jsonb) RETURNS text
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  CASE jsonb_typeof(p_value)
    WHEN 'object' THEN
      RETURN (SELECT '{' || coalesce(string_agg(to_jsonb(k)::text || ':' || pb.canonical(v), ',' ORDER BY k COLLATE "C"), '')
                     || '}' FROM jsonb_each(p_value) e (k, v));
    WHEN 'array' THEN
      RETURN (SELECT '[' || coalesce(string_agg(pb.canonical(v), ',' ORDER BY n), '') || ']'
                FROM jsonb_array_elements(p_value) WITH ORDINALITY e (v, n));
    WHEN 'number' THEN
      RETURN CASE WHEN p_value::text ~ '^-?[0-9]+$' THEN p_value::text ELSE to_jsonb(p_value::text)::text END;
    ELSE RETURN p_value::text;
  END CASE;
END $$;

-- A value as a text; NULL for null.
CREATE OR REPLACE FUNCTION pb.said(p_value jsonb) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT CASE WHEN jsonb_typeof(p_value) IN ('object', 'array') THEN pb.canonical(p_value) ELSE p_value #>> '{}' END $$;

CREATE OR REPLACE FUNCTION pb.number(p_text text) RETURNS numeric
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT CASE WHEN length(p_text) <= 400 AND p_text ~ '^[-+]?[0-9]+([.][0-9]+)?$' THEN p_text::numeric END $$;

CREATE OR REPLACE FUNCTION pb.same(p_one text, p_other text) RETURNS boolean
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT p_one = p_other OR coalesce(pb.number(p_one) = pb.number(p_other), false) $$;

-- What an expression comes to.
CREATE OR REPLACE FUNCTION pb.valued(p_expression text, p_input jsonb, p_outputs jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_parts text[];
BEGIN
  IF NOT starts_with(p_expression, '$') THEN
    RETURN to_jsonb(p_expression);
  ELSIF starts_with(p_expression, repeat('$', 2)) THEN
    RETURN to_jsonb(substr(p_expression, 2));
  END IF;
  v_parts := regexp_match(p_expression, '^\$input\.([^.]+)$');
  IF v_parts IS NOT NULL THEN
    RETURN coalesce(p_input -> v_parts[1], 'null');
  END IF;
  v_parts := regexp_match(p_expression, '^\$steps\.([^.]+)\.([^.]+)$');
  IF v_parts IS NOT NULL THEN
    RETURN coalesce(p_outputs -> v_parts[1] -> v_parts[2], 'null');
  END IF;
  RETURN to_jsonb(p_expression);
END $$;

CREATE OR REPLACE FUNCTION pb.holds(p_when jsonb, p_input jsonb, p_outputs jsonb) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_said text := pb.said(pb.valued(p_when ->> 'field', p_input, p_outputs));
  v_with text := coalesce(p_when ->> 'value', '');
BEGIN
  IF p_when ->> 'op' = 'isNull' OR v_said IS NULL THEN
    RETURN p_when ->> 'op' = 'isNull' AND v_said IS NULL;
  END IF;
  RETURN CASE p_when ->> 'op'
    WHEN 'in' THEN EXISTS (
      SELECT FROM jsonb_array_elements_text(coalesce(p_when -> 'values', '[]')) v WHERE pb.same(v_said, v))
    WHEN 'eq' THEN pb.same(v_said, v_with)
    WHEN 'ne' THEN NOT pb.same(v_said, v_with)
    WHEN 'lt' THEN coalesce(pb.number(v_said) < pb.number(v_with), false)
    WHEN 'lte' THEN coalesce(pb.number(v_said) <= pb.number(v_with), false)
    WHEN 'gt' THEN coalesce(pb.number(v_said) > pb.number(v_with), false)
    WHEN 'gte' THEN coalesce(pb.number(v_said) >= pb.number(v_with), false)
    WHEN 'startsWith' THEN starts_with(v_said, v_with)
    ELSE false
  END;
END $$;

-- The fields of each step that some expression of the workflow names: what has to be kept of its answer.
CREATE OR REPLACE FUNCTION pb.named(p_spec jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(jsonb_object_agg(step, fields), '{}') FROM (
    SELECT found[1] AS step, jsonb_agg(DISTINCT found[2]) AS fields
      FROM jsonb_path_query(p_spec, 'strict $.**') one,
           regexp_match(one #>> '{}', '^\$steps\.([^.]+)\.([^.]+)$') found
     WHERE jsonb_typeof(one) = 'string' AND found IS NOT NULL GROUP BY 1) f
$$;

CREATE OR REPLACE FUNCTION pb.step(p_spec jsonb, p_name text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS
$$ SELECT one FROM jsonb_array_elements(p_spec -> 'steps') one WHERE one ->> 'name' = p_name $$;

-- The call that a step, or what undoes it, comes to.
CREATE OR REPLACE FUNCTION pb.made(p_workflow pb.workflow, p_input jsonb, p_walk jsonb, p_step jsonb, p_undoes boolean)
RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_name text := p_step ->> 'name';
  v_does jsonb := CASE WHEN p_undoes THEN p_step -> 'compensate' ELSE p_step END;
  v_key text := v_name || '-' || coalesce(p_walk -> 'entered' ->> v_name, '0');
  v_once text;
  v_content jsonb;
BEGIN
  v_once := pb.said(pb.valued(p_step ->> 'idempotencyKey', p_input, p_walk -> 'outputs'));
  IF v_once IS NOT NULL THEN
    v_key := pb.digest(pb.canonical(jsonb_build_object('key', v_once)));
  END IF;
  v_content := jsonb_build_object('workflow', p_workflow.hash, 'step', v_name, 'uses', v_does ->> 'uses', 'arguments', (
    SELECT coalesce(jsonb_object_agg(k, pb.valued(v, p_input, p_walk -> 'outputs')), '{}')
      FROM jsonb_each_text(v_does -> 'with') e (k, v)));
  IF p_undoes THEN
    v_content := v_content || jsonb_build_object('undoes', v_key);
    v_key := 'undo-' || v_key;
  END IF;
  RETURN v_content - 'workflow' - 'undoes' || jsonb_build_object(
    'key', v_key, 'digest', pb.digest(pb.canonical(v_content)), 'rows', p_step -> 'maxRows');
END $$;

-- The walk: how a run stands. `next` is call, decision, approval, compensation or done; `call` what is to be made or
-- approved; `last` what was made last; `undo` what undoes what was done, the last first; `fails` why that is begun.
CREATE OR REPLACE FUNCTION pb.begun(p_workflow pb.workflow, p_input jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  IF p_workflow.hash IS NULL THEN
    RAISE EXCEPTION 'this workflow has another hash' USING ERRCODE = 'PA006';
  END IF;
  RETURN pb.entered(p_workflow, p_input, '{"entered": {}, "total": 0, "outputs": {}, "undo": []}',
    p_workflow.spec ->> 'initial');
END $$;

CREATE OR REPLACE FUNCTION pb.entered(p_workflow pb.workflow, p_input jsonb, p_walk jsonb, p_step text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_step jsonb := pb.step(p_workflow.spec, p_step);
  v_times integer := 1 + coalesce((p_walk -> 'entered' ->> p_step)::integer, 0);
  v_total integer := 1 + (p_walk ->> 'total')::integer;
  v_walk jsonb;
BEGIN
  IF p_step IS NULL THEN
    RETURN p_walk - 'call' || '{"next": "done", "ending": "Succeeded", "reason": ""}';
  END IF;
  v_walk := p_walk || jsonb_build_object('step', p_step, 'total', v_total, 'attempt', 1,
    'entered', (p_walk -> 'entered') || jsonb_build_object(p_step, v_times));
  IF v_total > (p_workflow.spec -> 'limits' ->> 'maxSteps')::integer OR v_times > (v_step ->> 'maxCalls')::integer THEN
    RETURN pb.failing(p_workflow, v_walk, 'Failed', 'StepsUsedUp');
  END IF;
  RETURN CASE v_step ->> 'uses'
    WHEN 'decide' THEN v_walk - 'call' || '{"next": "decision"}'
    WHEN 'approve' THEN v_walk || jsonb_build_object('next', 'approval', 'call', pb.made(
      p_workflow, p_input, v_walk, pb.step(p_workflow.spec, v_step #>> '{next,0,to}'), false))
    ELSE v_walk || jsonb_build_object('next', 'call', 'call', pb.made(p_workflow, p_input, v_walk, v_step, false))
  END;
END $$;

CREATE OR REPLACE FUNCTION pb.onward(p_workflow pb.workflow, p_input jsonb, p_walk jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_one jsonb;
BEGIN
  FOR v_one IN SELECT jsonb_array_elements(pb.step(p_workflow.spec, p_walk ->> 'step') -> 'next') LOOP
    IF v_one -> 'when' IS NULL OR pb.holds(v_one -> 'when', p_input, p_walk -> 'outputs') THEN
      RETURN pb.entered(p_workflow, p_input, p_walk, v_one ->> 'to');
    END IF;
  END LOOP;
  RETURN pb.entered(p_workflow, p_input, p_walk, NULL);
END $$;

CREATE OR REPLACE FUNCTION pb.undoing(p_workflow pb.workflow, p_walk jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_call jsonb := p_walk #> '{undo,0}';
  v_fails jsonb := p_walk -> 'fails';
BEGIN
  IF p_workflow.spec ->> 'onFailure' = 'Compensate' AND v_call IS NOT NULL THEN
    RETURN p_walk || jsonb_build_object('next', 'compensation', 'step', v_call -> 'step', 'call', v_call);
  END IF;
  RETURN p_walk - 'call' || jsonb_build_object('next', 'done', 'step', v_fails -> 'step', 'ending', v_fails -> 'ending',
    'reason', CASE p_walk ->> 'left' WHEN '' THEN v_fails ->> 'reason'
      ELSE format('%s, and %s was not undone', v_fails ->> 'reason', p_walk ->> 'left') END);
END $$;

CREATE OR REPLACE FUNCTION pb.failing(p_workflow pb.workflow, p_walk jsonb, p_ending text, p_reason text) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT pb.undoing(p_workflow, p_walk || jsonb_build_object('left', '', 'fails', jsonb_build_object(
    'ending', p_ending, 'step', p_walk ->> 'step', 'reason', p_reason)))
$$;

-- The walk after one event. What may happen at all was looked at before.
CREATE OR REPLACE FUNCTION pb.walked(
  p_workflow pb.workflow, p_input jsonb, p_walk jsonb, p_kind text, p_values jsonb, p_error text
) RETURNS jsonb LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_step jsonb := pb.step(p_workflow.spec, p_walk ->> 'step');
  v_walk jsonb := p_walk;
BEGIN
  IF p_kind = 'expired' THEN
    RETURN pb.failing(p_workflow, p_walk, 'Expired', 'DeadlinePassed');
  ELSIF p_kind = 'compensation' THEN
    v_walk := v_walk || jsonb_build_object('undo', (p_walk -> 'undo') - 0);
    IF p_error = '' THEN
      v_walk := v_walk || jsonb_build_object('last', p_walk -> 'call');
    ELSIF p_walk ->> 'left' = '' THEN
      v_walk := v_walk || jsonb_build_object('left', p_walk ->> 'step');
    END IF;
    RETURN pb.undoing(p_workflow, v_walk);
  ELSIF p_kind = 'approval' THEN
    RETURN CASE p_error WHEN '' THEN pb.onward(p_workflow, p_input, p_walk)
      ELSE pb.failing(p_workflow, p_walk, 'Denied', p_error) END;
  ELSIF p_error IN ('40001', '40P01') AND (p_walk ->> 'attempt')::integer < 3 THEN
    RETURN p_walk || jsonb_build_object('attempt', 1 + (p_walk ->> 'attempt')::integer);
  ELSIF p_error <> '' THEN
    RETURN pb.failing(p_workflow, p_walk, 'Failed', p_error);
  END IF;
  v_walk := v_walk || jsonb_build_object('outputs',
    (p_walk -> 'outputs') || jsonb_build_object(p_walk ->> 'step', p_values));
  IF p_kind = 'call' THEN
    v_walk := v_walk || jsonb_build_object('last', p_walk -> 'call');
    IF v_step -> 'compensate' IS NOT NULL THEN
      v_walk := v_walk || jsonb_build_object('undo',
        jsonb_build_array(pb.made(p_workflow, p_input, v_walk, v_step, true)) || (p_walk -> 'undo'));
    END IF;
  END IF;
  RETURN pb.onward(p_workflow, p_input, v_walk);
END $$;

-- An operation's arguments as a workflow names them: the key, the values and what was read, or the one value of each
-- field that is chosen by. NULL where more was said than that.
CREATE OR REPLACE FUNCTION pb.flat(p_said jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_part jsonb;
  v_parts jsonb[];
  v_flat jsonb := '{}';
BEGIN
  v_parts := ARRAY[p_said -> 'key', p_said -> 'values',
    CASE WHEN p_said ->> 'ifMatch' IS NOT NULL THEN jsonb_build_object('ifMatch', p_said -> 'ifMatch') END,
    jsonb_strip_nulls(jsonb_build_object(
      'function', p_said -> 'function', 'field', p_said -> 'field', 'groupBy', p_said -> 'groupBy'))];
  FOR v_part IN SELECT jsonb_build_object(one ->> 'field', one -> 'value')
                  FROM jsonb_array_elements(coalesce(p_said -> 'where', '[]')) one LOOP
    v_parts := v_parts || v_part;
  END LOOP;
  IF EXISTS (SELECT FROM jsonb_array_elements(coalesce(p_said -> 'where', '[]')) one WHERE one ->> 'op' <> 'eq')
     OR p_said -> 'sort' <> '[]' OR (p_said ->> 'limit')::bigint < 1 THEN
    RETURN NULL;
  END IF;
  FOREACH v_part IN ARRAY v_parts LOOP
    IF v_part IS NOT NULL THEN
      IF jsonb_typeof(v_part) <> 'object' OR v_flat ?| ARRAY(SELECT jsonb_object_keys(v_part)) THEN
        RETURN NULL;
      END IF;
      v_flat := v_flat || v_part;
    END IF;
  END LOOP;
  RETURN v_flat;
END $$;

-- Whether two arguments are the same: their texts, or as values of a column of one of the server's own types.
CREATE OR REPLACE FUNCTION pb.equal(p_one jsonb, p_other jsonb, p_types jsonb) RETURNS boolean
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET TimeZone = 'UTC' SET DateStyle = 'ISO' AS $$
DECLARE
  v_name text;
  v_texts text[];
  v_type text;
  v_same boolean;
BEGIN
  IF p_other IS NULL OR ARRAY(SELECT jsonb_object_keys(p_one) ORDER BY 1)
                        IS DISTINCT FROM ARRAY(SELECT jsonb_object_keys(p_other) ORDER BY 1) THEN
    RETURN false;
  END IF;
  FOR v_name IN SELECT jsonb_object_keys(p_one) LOOP
    v_texts := ARRAY[pb.said(p_one -> v_name), pb.said(p_other -> v_name)];
    v_type := p_types ->> v_name;
    IF v_texts[1] IS DISTINCT FROM v_texts[2] THEN
      IF v_texts[1] IS NULL OR v_texts[2] IS NULL OR v_type IS NULL OR strpos(v_type, '.') > 0 THEN
        RETURN false;
      END IF;
      v_type := CASE v_type WHEN 'json' THEN 'jsonb' ELSE v_type END;
      EXECUTE format('SELECT %L::%s = %L::%s', v_texts[1], v_type, v_texts[2], v_type) INTO v_same;
      IF v_same IS NOT TRUE THEN
        RETURN false;
      END IF;
    END IF;
  END LOOP;
  RETURN true;
END $$;

-- Whether what is asked in this session is the call that comes next, or the one that was made last, once more because
-- its answer was lost. What a session says of its step and key can only rule a call out.
CREATE OR REPLACE FUNCTION pb.fits(p_call jsonb, p_uses text, p_arguments jsonb, p_types jsonb) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(p_call ->> 'uses' = p_uses AND pb.equal(p_call -> 'arguments', p_arguments, p_types)
    AND coalesce(nullif(current_setting('pb.step', true), ''), '*') IN ('*', p_call ->> 'step'), false)
$$;

CREATE OR REPLACE FUNCTION pb.asked(p_walk jsonb, p_uses text, p_said jsonb, p_types jsonb) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_flat jsonb := pb.flat(p_said);
  v_key text := coalesce(current_setting('pb.key', true), '');
BEGIN
  IF p_walk ->> 'next' IN ('call', 'compensation') AND pb.fits(p_walk -> 'call', p_uses, v_flat, p_types)
     AND (v_key = p_walk #>> '{call,key}' OR v_key IS DISTINCT FROM p_walk #>> '{last,key}') THEN
    RETURN 'next';
  ELSIF pb.fits(p_walk -> 'last', p_uses, v_flat, p_types) THEN
    RETURN 'again';
  END IF;
  RAISE EXCEPTION 'this is not what comes next in this run' USING ERRCODE = 'PA002';
END $$;

-- One event: written down, its values kept beside the journal, and the run moved on. Whoever calls it has locked the run.
CREATE OR REPLACE FUNCTION pb.event(
  p_run pb.run, p_kind text, p_call jsonb, p_rows bigint, p_effect text, p_key text, p_answer jsonb, p_error text
) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_workflow pb.workflow;
  v_step text := p_run.walk ->> 'step';
  v_values jsonb := '{}';
  v_uses text := p_call ->> 'uses';
BEGIN
  SELECT * INTO STRICT v_workflow FROM pb.workflow w WHERE w.hash = p_run.workflow_hash;
  IF p_kind = 'decision' THEN
    v_values := p_answer;
  ELSIF jsonb_typeof(p_answer) = 'object' THEN
    SELECT coalesce(jsonb_object_agg(f, coalesce(p_answer -> f, 'null')), '{}') INTO v_values
      FROM jsonb_array_elements_text(coalesce(v_workflow.named -> v_step, '[]')) f;
  END IF;
  PERFORM pb.append(p_run.id, p_kind, v_step, nullif(regexp_replace(v_uses, '[.][^.]*$', ''), ''),
    substring(v_uses from '[^.]*$'), p_rows,
    CASE p_kind WHEN 'decision' THEN pb.digest(pb.canonical(v_values)) WHEN 'approval' THEN p_effect WHEN 'expired' THEN NULL
      ELSE pb.digest(pb.canonical(jsonb_build_object(
        'effect', p_effect, 'call', p_call ->> 'digest', 'values', v_values, 'error', p_error))) END, p_key);
  INSERT INTO pb.value VALUES (
    p_run.id, p_run.seq + 1, coalesce(p_effect, ''), coalesce(p_call ->> 'digest', ''), v_values, p_error);
  UPDATE pb.run r SET going = NULL,
         walk = pb.walked(v_workflow, p_run.input, p_run.walk, p_kind, v_values, p_error) WHERE r.id = p_run.id;
END $$;

-- The column that each argument of a call is filled from, where it is one.
CREATE OR REPLACE FUNCTION pb.sources(p_spec jsonb, p_call jsonb, p_undoes boolean) RETURNS jsonb
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
  SELECT coalesce(jsonb_object_agg(name, regexp_replace(filled ->> 'uses', '[.][^.]*$', '') || '.' || parts[2]), '{}')
    FROM (SELECT CASE WHEN p_undoes THEN step -> 'compensate' ELSE step END AS does
            FROM pb.step(p_spec, p_call ->> 'step') step) d,
         jsonb_each_text(d.does -> 'with') e (name, expression),
         regexp_match(expression, '^\$steps\.([^.]+)\.([^.]+)$') parts, pb.step(p_spec, parts[1]) filled
   WHERE parts IS NOT NULL AND filled ->> 'uses' NOT IN ('decide', 'approve')
$$;

-- What comes next in a run; of one whose time has come this is written down first. NULL for a run that is not led.
CREATE OR REPLACE FUNCTION pb.standing(p_run uuid) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_run pb.run;
  v_agent pb.agent;
  v_workflow pb.workflow;
BEGIN
  SELECT r.* INTO v_run FROM pb.run r WHERE r.id = p_run
     AND (r.role = session_user OR NOT EXISTS (SELECT FROM pb.agent a WHERE a.role = session_user)) FOR NO KEY UPDATE;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'there is no open run' USING ERRCODE = 'PA001';
  ELSIF NOT v_run.led THEN
    RETURN NULL;
  ELSIF v_run.closed_time IS NOT NULL THEN
    RETURN jsonb_build_object('next', 'done', 'step', v_run.walk ->> 'step', 'ending', (
      SELECT j.digest FROM pb.journal j WHERE j.run = p_run AND j.kind = 'closed'), 'reason', coalesce(v_run.walk ->> 'reason', ''));
  END IF;
  SELECT * INTO STRICT v_agent FROM pb.agent a WHERE a.role = v_run.role;
  IF v_run.policy_hash <> v_agent.policy_hash OR v_run.schema_hash <> v_agent.schema_hash THEN
    RETURN jsonb_build_object('next', 'done', 'step', v_run.walk ->> 'step', 'ending', 'PolicyChanged', 'reason', '');
  ELSIF v_run.deadline <= clock_timestamp() AND v_run.walk ->> 'next' NOT IN ('compensation', 'done') THEN
    PERFORM pb.event(v_run, 'expired', NULL, NULL, NULL, NULL, NULL, '');
    SELECT * INTO STRICT v_run FROM pb.run r WHERE r.id = p_run;
  END IF;
  SELECT * INTO STRICT v_workflow FROM pb.workflow w WHERE w.hash = v_run.workflow_hash;
  RETURN jsonb_strip_nulls(jsonb_build_object(
    'next', v_run.walk -> 'next', 'ending', v_run.walk -> 'ending', 'reason', v_run.walk -> 'reason',
    'out', pb.step(v_workflow.spec, v_run.walk ->> 'step') -> 'out',
    'sources', nullif(pb.sources(
      v_workflow.spec, v_run.walk -> 'call', v_run.walk ->> 'next' = 'compensation'), '{}')))
    || coalesce(v_run.walk -> 'call', '{}') || jsonb_build_object('step', v_run.walk -> 'step');
END $$;

-- The agent decides: one of the values that the workflow lists, at the step that asks for it.
CREATE OR REPLACE FUNCTION pb.decide(p_run uuid, p_step text, p_values jsonb) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_run pb.run := pb.locked(p_run, session_user);
  v_out jsonb;
BEGIN
  IF v_run.walk ->> 'next' IS DISTINCT FROM 'decision' OR p_step IS DISTINCT FROM v_run.walk ->> 'step' THEN
    RAISE EXCEPTION 'this is not what comes next in this run' USING ERRCODE = 'PA002';
  END IF;
  SELECT pb.step(w.spec, p_step) -> 'out' INTO STRICT v_out FROM pb.workflow w WHERE w.hash = v_run.workflow_hash;
  IF jsonb_typeof(p_values) IS DISTINCT FROM 'object' OR EXISTS (
       SELECT FROM jsonb_each(v_out) o (k, v) FULL JOIN jsonb_each(p_values) s (k, v) USING (k)
        WHERE o.v IS NULL OR s.v IS NULL OR jsonb_typeof(s.v) <> 'string' OR NOT o.v ? (s.v #>> '{}')) THEN
    RAISE EXCEPTION 'a decision is one of the values that are listed, for each field' USING ERRCODE = 'PA006';
  END IF;
  PERFORM pb.event(v_run, 'decision', NULL, NULL, NULL, NULL, p_values, '');
  RETURN pb.standing(p_run);
END $$;

-- A person approved, or denied, the call with this digest: for the controller, and no agent's to call.
CREATE OR REPLACE FUNCTION pb.approve(
  p_run uuid, p_step text, p_digest text, p_approval text, p_approver text, p_denied boolean
) RETURNS jsonb LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_run pb.run := pb.locked(p_run, (SELECT r.role FROM pb.run r WHERE r.id = p_run));
BEGIN
  IF v_run.walk ->> 'next' IS DISTINCT FROM 'approval' OR p_step IS DISTINCT FROM v_run.walk ->> 'step'
     OR p_digest IS DISTINCT FROM v_run.walk #>> '{call,digest}' THEN
    RAISE EXCEPTION 'this call waits for no approval' USING ERRCODE = 'PA002';
  END IF;
  BEGIN
    INSERT INTO pb.approval (run, step, entered, digest, approval, approver, denied)
      VALUES (p_run, p_step, (v_run.walk -> 'entered' ->> p_step)::integer, p_digest, p_approval, p_approver, p_denied);
  EXCEPTION WHEN unique_violation THEN
    RAISE EXCEPTION 'this approval was used' USING ERRCODE = 'PA005';
  END;
  PERFORM pb.event(v_run, 'approval', jsonb_build_object('digest', p_digest), (NOT p_denied)::integer, p_digest, p_approval,
    NULL, CASE WHEN p_denied THEN 'Denied' ELSE '' END);
  RETURN pb.standing(p_run);
END $$;

-- The call that comes next failed for good: the run fails with it, and what was done is undone where the workflow says so.
CREATE OR REPLACE FUNCTION pb.fail(p_run uuid, p_step text, p_error text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  v_run pb.run := pb.locked(p_run, session_user);
BEGIN
  IF NOT coalesce(v_run.walk ->> 'next' IN ('call', 'compensation'), false) OR p_step IS DISTINCT FROM v_run.walk ->> 'step' THEN
    RAISE EXCEPTION 'this is not what comes next in this run' USING ERRCODE = 'PA002';
  ELSIF NOT coalesce(p_error ~ '^[A-Za-z0-9]{1,63}$', false) THEN
    RAISE EXCEPTION 'an error is one word' USING ERRCODE = 'PA006';
  END IF;
  PERFORM pb.event(v_run, v_run.walk ->> 'next', v_run.walk -> 'call', NULL, NULL, NULL, NULL, p_error);
  RETURN pb.standing(p_run);
END $$;
