"""Which steps take something away; and what of a step goes into the audit log: a hash of its inputs, nothing clear."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from paybill import reconcile
from paybill.reconcile.steps import digest

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=3), values, max_size=5))
def test_the_order_in_which_inputs_are_written_does_not_matter(inputs):
    assert digest(inputs) == digest(dict(reversed(inputs.items())))


@given(values, values)
def test_different_inputs_have_different_hashes(one, other):
    assert (digest(one) == digest(other)) is (canonical(one) == canonical(other))


def canonical(value: object) -> object:
    """Tells apart what JSON tells apart: to Python 1 and True are the same."""
    if isinstance(value, dict):
        return "object", sorted((key, canonical(value[key])) for key in value)
    if isinstance(value, list):
        return "list", [canonical(one) for one in value]
    return type(value).__name__, repr(value)


def test_a_hash_says_how_it_was_made_and_nothing_else():
    assert re.fullmatch("sha256:[0-9a-f]{64}", digest({"password": "hunter2"}))
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_what_json_cannot_say_is_hashed_as_text():
    assert digest({"when": datetime(2026, 1, 1, tzinfo=UTC)}) == digest({"when": "2026-01-01 00:00:00+00:00"})


DESTRUCTIVE = {
    ("agent_access.py", "agent.close"),
    ("agent_gateway.py", "gateway.delete"),  # of a tenant whose last agent was shut out
    ("agent_login.py", "secret.delete"),  # of an agent that is gone
    ("agent_policy.py", "agent.close"),
    ("agent_policy.py", "agent.remove"),
    ("archiving.py", "DELETIONS.action"),  # the final backup of an archived tenant
    ("dropping.py", "DELETIONS.action"),
    ("dropping.py", "action"),  # the deletion of what a deleted or archived Tenant left
    ("backup.py", "backup.remove"),
    ("restore_steps.py", "DELETIONS.action"),  # what a restore replaced
    ("restore_steps.py", "action"),  # the tenant is shut out; of shared tables its rows are exchanged
    ("backup_schedule.py", "tenantBackup.delete"),
    ("deletion.py", "tenant.delete"),
    ("erasure.py", "tenant.erase"),
    ("deletion.py", "tenant.release"),
    ("move_server.py", "secret.delete"),
    ("move_steps.py", "DELETIONS.action"),
    ("move_steps.py", "move.close"),  # the tenant is shut out until the switch, or until it is let in again
    ("plan.py", "plan.forget"),
    ("provision.py", "roleBinding.delete"),
    ("suspension.py", "SUSPENSIONS.action"),
    ("suspension.py", "pod.delete"),
    ("suspension.py", "pod.evict"),
}
DEPENDS = {
    ("database.py", "database.ensure"),
    ("objects.py", "action"),
    ("operations.py", "f'stack.{row.kind}'"),  # an operation that destroys
    ("rotation.py", "action"),  # an old login is closed
}
"""Whoever asks for it says whether it takes something away."""
HARMLESS = {
    ("agent_run.py", "run.close"),  # its time is over, or a person ended it: the database refuses its calls anyway
    ("agent_run.py", "run.open"),
    ("agent_gateway.py", "gateway.apply"),
    ("agent_run.py", "run.expire"),  # that its time is over is written down: the database refuses its calls anyway
    ("agent_approval.py", "run.deny or run.approve"),  # a person's word: what comes of it, the database allows or not
    ("agent_login.py", "secret.apply"),
    ("agent_policy.py", "session.terminate"),  # as the watchdog's
    ("agent_policy.py", "agent.apply"),  # what it takes away, somebody took out of the policy
    ("archiving.py", "subscription.notice"),
    ("archiving.py", "tenantRestore.create"),
    ("backup.py", "backup.take"),
    ("restore_steps.py", "restore.abandon"),  # a copy that was never in anybody's place
    ("restore_steps.py", "restore.prepare"),
    ("backup_schedule.py", "tenantBackup.create"),
    ("backup_schedule.py", "tenantBackup.expire"),  # a day is named; what takes it away then is a step of its own
    ("adoption.py", "contract.continue"),
    ("adoption.py", "tenant.adopt"),
    ("adoption.py", "tenant.release"),  # a person named the one that is let go of; all stays as it is
    ("claiming.py", "plan.keep"),
    ("collecting.py", "f'stripe.{deed.lower()}'"),  # a tenant that was never there: its customer pays less, not more
    ("pooler.py", "pooler.apply"),
    ("pooler.py", "pooler.pause"),  # its clients wait for seconds, and see no error
    ("pooler.py", "pooler.resume"),
    ("own_database.py", "database.create"),
    ("database.py", "secret.apply"),
    ("isolation.py", "isolation.check"),  # makes two tenants of Paybill's own, and removes them
    ("mass_change.py", "massChange.allow or massChange.clear"),
    ("mass_change.py", "massChange.hold"),
    ("modes.py", "mode.change"),
    ("tenant_migrations.py", "migrations.run"),
    ("deletion.py", "move.giveUp"),
    ("move_steps.py", "move.complete"),
    ("move_steps.py", "move.copy"),
    ("move_steps.py", "move.drain"),
    ("move_steps.py", "move.follow"),
    ("move_steps.py", "move.giveUp"),  # what goes is the unfinished target, which nobody was let into
    ("move_steps.py", "move.prepare"),
    ("move_steps.py", "move.reopen"),
    ("move_steps.py", "move.retire"),  # the tenant has left that place
    ("move_steps.py", "move.settle"),
    ("move_steps.py", "move.switch"),
    ("move_steps.py", "move.verify"),
    ("operation_end.py", "secret.apply"),
    ("plan.py", "plan.keep"),
    ("provision.py", "quota.resume"),
    ("signing_up.py", "action"),  # a Tenant and its Subscription are made
    ("suspension.py", "workload.resume"),
    # What was committed stays, and the app may connect again; a halt must not leave one tenant in all others' way.
    ("watchdog.py", "f'session.{found.deed.lower()}'"),
}


def steps() -> Iterator[tuple[tuple[str, str], bool | str]]:
    """Every Step that is made: where and its action, and whether it is destructive (by word, or by its budget)."""
    for path in sorted(Path(reconcile.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Step":
                said = {keyword.arg: keyword.value for keyword in node.keywords}
                marked: bool | str = "budget" in said
                if "destructive" in said:
                    value = said["destructive"]
                    marked = value.value if isinstance(value, ast.Constant) else "depends"  # type: ignore[assignment]
                yield (path.name, words(said["action"])), marked


def words(action: ast.expr) -> str:
    match action:
        case ast.Constant(value=value):
            return str(value)
        case ast.IfExp(body=body, orelse=orelse):
            return f"{words(body)} or {words(orelse)}"
        case _:
            return ast.unparse(action)


def test_of_every_step_it_was_decided_whether_it_takes_something_away():
    found = list(steps())
    assert {step for step, marked in found if marked is True} == DESTRUCTIVE
    assert {step for step, marked in found if marked == "depends"} == DEPENDS
    assert {step for step, marked in found if marked is False} == HARMLESS
