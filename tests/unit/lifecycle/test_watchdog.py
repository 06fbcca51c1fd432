"""What is done about a session: by limit, by what it does, and by whether a cancel was tried before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from paybill.lifecycle.watchdog import QUIET, Episode, Limits, Watched, breach, hoarders, suspect

LIMITS = Limits(statement=30.0, transaction=600.0, idle_in_transaction=60.0)
SHARED = Limits(shares_tables=True)
GRACE = LOCK_WAIT = 5.0
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def session(**seen) -> Watched:
    kind = seen.get("kind", "app")
    return Watched(**{"pid": 7, "tenant": "acme0001", "login": f"pb_acme0001_{kind}_a", "work": "3/4", **seen})


def done(seen: Watched, limits: Limits = LIMITS, cancelled: float | None = None):
    found = breach(seen, limits, LOCK_WAIT, cancelled, GRACE)
    return found and (found.rule, found.deed)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"statement": 29.0, "transaction": 29.0}, None),
        ({"statement": 30.9, "transaction": 30.9}, None),  # the server's own time-out comes first
        ({"statement": 31.1, "transaction": 31.1}, ("StatementTooLong", "Cancel")),
        ({"statement": 1.0, "transaction": 602.0}, ("TransactionTooLong", "Cancel")),
        ({"statement": 31.1, "transaction": 602.0}, ("StatementTooLong", "Cancel")),
        ({"idle_in_transaction": 59.0, "transaction": 599.0}, None),
        ({"idle_in_transaction": 62.0, "transaction": 62.0}, ("IdleInTransaction", "Terminate")),  # nothing to cancel
        ({"idle_in_transaction": 1.0, "transaction": 602.0}, ("TransactionTooLong", "Terminate")),
        ({"idle": 9999.0, "work": ""}, None),
        ({"statement": 500.0, "transaction": 500.0, "kind": "mig"}, None),  # a migration takes its time
        ({"idle_in_transaction": 500.0, "transaction": 500.0, "kind": "mig"}, None),
        ({"statement": 500.0, "transaction": 602.0, "kind": "mig"}, ("TransactionTooLong", "Cancel")),
        ({"statement": 500.0, "transaction": 500.0, "kind": "ro"}, ("StatementTooLong", "Cancel")),
        ({"transaction": 9999.0, "hidden": True}, None),  # what it does is not known
    ],
    ids=str,
)
def test_a_limit_and_what_is_done(seen, expected):
    assert done(session(**seen)) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"statement": 2.9}, None),
        ({"statement": 3.1}, ("StatementTooLong", "Cancel")),
        ({"idle_in_transaction": 3.1}, ("IdleInTransaction", "Terminate")),
        ({"statement": 31.1, "login": "pba_acme0001_a_patient"}, ("StatementTooLong", "Cancel")),  # its tenant's limit
        ({"statement": 3.1, "login": "pba_acme0001_a_other"}, None),
        ({"statement": 3.1, "login": "pb_acme0001_app_a", "kind": "app"}, None),
    ],
    ids=str,
)
def test_an_agent_is_held_to_its_policy_and_never_to_more_than_its_tenant(seen, expected):
    limits = replace(LIMITS, agents={"pba_acme0001_a_support": 2.0, "pba_acme0001_a_patient": 900.0})
    assert done(session(**{"login": "pba_acme0001_a_support", "kind": "agent", **seen}), limits) == expected
    hidden = session(login="pba_acme0001_a_support", kind="agent", hidden=True, transaction=3.1)
    assert suspect(hidden, limits, LOCK_WAIT)
    assert not suspect(hidden, LIMITS, LOCK_WAIT)


def test_without_a_limit_nothing_is_done():
    assert done(session(statement=3599.0, transaction=3599.0, idle_in_transaction=3599.0), Limits()) is None
    assert done(session(statement=3602.0, transaction=3602.0), Limits()) == ("TransactionTooLong", "Cancel")


@pytest.mark.parametrize(
    ("cancelled", "deed"), [(None, "Cancel"), (0.1, None), (4.9, None), (5.0, "Terminate"), (99.0, "Terminate")]
)
def test_a_session_that_survives_a_cancel_is_ended_after_the_grace(cancelled, deed):
    found = done(session(statement=40.0, transaction=40.0), cancelled=cancelled)
    assert found == (("StatementTooLong", deed) if deed else None)


@pytest.mark.parametrize(
    ("seen", "limits", "expected"),
    [
        ({"locks_table": True, "keeps_waiting": 5.1, "statement": 1.0}, SHARED, ("LocksSharedTable", "Cancel")),
        ({"locks_table": True, "keeps_waiting": 5.1, "idle_in_transaction": 1.0}, SHARED,
         ("LocksSharedTable", "Terminate")),
        ({"locks_table": True, "keeps_waiting": 4.9}, SHARED, None),
        ({"locks_table": True, "keeps_waiting": 0.0}, SHARED, None),  # nobody waits
        ({"locks_table": False, "keeps_waiting": 99.0}, SHARED, None),  # rows of its own: not who is to blame
        ({"locks_table": True, "keeps_waiting": 99.0}, LIMITS, None),  # tables of its own
    ],
    ids=str,
)  # fmt: skip
def test_a_lock_on_a_whole_shared_table(seen, limits, expected):
    assert done(session(**seen), limits) == expected


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        ({"transaction": 32.0}, True),  # it may have been one statement all the time
        ({"transaction": 30.0}, False),
        ({"transaction": 32.0, "kind": "mig"}, False),
        ({"transaction": 602.0, "kind": "mig"}, True),
        ({"transaction": None, "idle": 9.0}, False),
        ({"transaction": 9999.0, "hidden": False}, False),
    ],
    ids=str,
)
def test_who_hides_what_it_does_is_looked_at_by_its_shortest_limit(seen, expected):
    assert suspect(session(**{"hidden": True, **seen}), LIMITS, LOCK_WAIT) is expected


def idle(tenant: str, pid: int, seconds: float = 100.0) -> Watched:
    return Watched(pid=pid, tenant=tenant, login=f"pb_{tenant}_app_a", idle=seconds)


@pytest.mark.parametrize(
    ("missing", "ended"),
    [
        (0, []),
        (-5, []),
        (1, [12]),  # of who holds most, the one that is idle longest
        (3, [12, 13, 21]),  # until another one holds as much
        (4, [12, 13, 21, 11]),
        (9, [12, 13, 21, 11]),  # everybody keeps one
    ],
)
def test_idle_sessions_make_room_when_a_server_is_full(missing, ended):
    sessions = [idle("a", 11, 50), idle("a", 12, 400), idle("a", 13, 300), idle("a", 14, 10), idle("b", 21)]
    assert [one.session.pid for one in hoarders(sessions, {"a": 4, "b": 2}, missing, ())] == ended


def test_a_session_of_our_own_makes_no_room():
    assert hoarders([idle("a", 11)], {"a": 4}, 1, {11}) == ()


def test_an_episode_says_each_limit_once_and_ends_when_it_was_quiet_for_long_enough():
    episode = Episode(since=NOW, last=NOW, said={"StatementTooLong": "one", "IdleInTransaction": "two"})
    assert (episode.reason, episode.words) == ("StatementTooLong", "since 2026-03-01T12:00:00Z: one; two")
    assert not episode.over(NOW + QUIET - timedelta(seconds=1))
    assert episode.over(NOW + QUIET)
