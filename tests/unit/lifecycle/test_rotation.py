"""Which slot is in use, and when the other takes over: a busy slot is closed on suspicion or in time only."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.api.failures import Invalid
from paybill.lifecycle import rotation
from paybill.lifecycle.phases import Access
from paybill.lifecycle.rotation import KINDS, Login, Logins, Schedule, Step
from tests.unit.lifecycle.contracts import START

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
MONTHLY = Schedule(every=30 * DAY)
ID = "k3x9m2qd"
FIRST = Logins()
FILLING = FIRST.changed(["app"], filling=START)
REPLACED = rotation.switched(FILLING, START)


def turns(logins, *, after=timedelta(), sessions=None, access=Access.FULL, schedule=MONTHLY):
    now = START + after
    wanted = rotation.wanted(logins, schedule, ID, START, "Schema")
    open_ = rotation.opened(access)
    return rotation.turns(logins, schedule, wanted, now, open_=open_, sessions=sessions or {})


@pytest.mark.parametrize(
    ("reason", "logins", "given", "expected"),
    [
        ("new ones rest", FIRST, {}, {}),
        ("all are due after the span and the tenant's share of it", FIRST, {"after": 38 * DAY},
         dict.fromkeys(KINDS, Step.FILL)),
        ("nothing is scheduled", FIRST, {"after": 9_000 * DAY, "schedule": Schedule()}, {}),
        ("closed logins cannot be proved", FIRST, {"after": 38 * DAY, "access": Access.NONE}, {}),
        ("restricted ones can, but for mig", FIRST, {"after": 38 * DAY, "access": Access.READ_ONLY},
         {"app": Step.FILL, "ro": Step.FILL}),
        ("a filling slot waits for its proof", FILLING, {"after": HOUR}, {}),
        ("and is given up when the tenant is suspended", FILLING, {"access": Access.NONE}, {"app": Step.ABANDON}),
        ("an old slot is open for apps to read the Secret", REPLACED, {"after": HOUR / 2, "sessions": {"app": 0}}, {}),
        ("and closed when nobody is in it", REPLACED, {"after": HOUR, "sessions": {"app": 0}}, {"app": Step.CLOSE}),
        ("but not unseen", REPLACED, {"after": HOUR}, {}),
        ("nor while somebody is", REPLACED, {"after": 6 * DAY, "sessions": {"app": 1}}, {}),
        ("for ever", REPLACED, {"after": 7 * DAY, "sessions": {"app": 1}}, {"app": Step.CLOSE}),
        ("on suspicion at once", REPLACED.changed(["app"], suspected=True), {"sessions": {"app": 9}},
         {"app": Step.CLOSE}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_what_is_to_be_done(reason, logins, given, expected):
    assert turns(logins, **given) == expected


def test_a_suspected_login_whose_other_slot_is_still_open_has_that_one_closed_first():
    asked = rotation.asked(REPLACED, "1 suspected", rotation.request("1 suspected"), "Schema", START)
    assert turns(asked)["app"] is Step.CLOSE
    after = rotation.taken(asked, Step.CLOSE, ["app"], START)
    assert turns(after)["app"] is Step.FILL
    assert after.app.suspected, "the login in use is suspected too"
    assert turns(rotation.switched(rotation.taken(after, Step.FILL, ["app"], START), START))["app"] is Step.CLOSE


def test_a_refused_login_is_tried_again_after_a_while():
    asked = rotation.asked(FIRST, "1 app", rotation.request("1 app"), "Schema", START)
    filled = rotation.taken(asked, Step.FILL, ["app"], START)
    kept = rotation.refused(filled, "no pg_hba.conf entry", START)

    assert kept.app.slot == "a"
    assert kept.suffixes == FIRST.suffixes, "the slot that was filled is closed"
    assert turns(kept, after=rotation.AGAIN - HOUR / 60) == {}
    assert turns(kept, after=rotation.AGAIN) == {"app": Step.FILL}


def test_slots_in_use_and_those_that_leave():
    assert FIRST.suffixes == ("app_a", "ro_a", "mig_a")
    assert FIRST.leaving == ()
    assert FILLING.suffixes == REPLACED.suffixes == ("app_b", "app_a", "ro_a", "mig_a")
    assert FILLING.leaving == REPLACED.leaving == ("app_a",)
    assert rotation.taken(REPLACED, Step.CLOSE, ["app"], START).suffixes == ("app_b", "ro_a", "mig_a")


def test_tables_that_are_shared_have_no_mig():
    asked = rotation.asked(FIRST, "1", rotation.request("1"), "Rows", START)
    assert [kind for kind, one in asked.each() if one.asked] == ["app", "ro"]
    assert set(rotation.wanted(asked, MONTHLY, ID, START, "Rows")) == {"app", "ro"}


@pytest.mark.parametrize(
    ("value", "kinds", "suspected"),
    [
        ("1764354000", KINDS, False),
        ("x app", ("app",), False),
        ("x ro,app", ("app", "ro"), False),
        ("x mig suspected", ("mig",), True),
        ("x suspected", KINDS, True),
        ("app", KINDS, False),
    ],
)
def test_a_request_is_a_word_of_ones_own_and_what_is_meant(value, kinds, suspected):
    assert rotation.request(value) == rotation.Request(kinds=kinds, suspected=suspected)


def test_another_word_is_refused_rather_than_guessed():
    with pytest.raises(Invalid, match="'apps' is no kind of login"):
        rotation.request("1 apps")


MOMENTS = st.none() | st.integers(0, 10**6).map(lambda seconds: START + timedelta(seconds=seconds))
LOGINS = st.builds(
    Login, slot=st.sampled_from("ab"), since=MOMENTS, filling=MOMENTS, replaced=MOMENTS, asked=MOMENTS,
    suspected=st.booleans(), refused=MOMENTS, because=st.text(max_size=5),
)  # fmt: skip


@given(st.builds(Logins, app=LOGINS, ro=LOGINS, mig=LOGINS, acknowledged=st.text(max_size=5)))
def test_what_is_kept_is_read_back_as_it_was(logins):
    assert rotation.read(rotation.written(logins)) == logins


def test_nothing_is_kept_of_a_tenant_whose_logins_were_never_rotated():
    assert rotation.written(FIRST) == {}


@given(st.lists(st.tuples(st.integers(1, 10 * 24), st.sampled_from(list(Access)), st.integers(0, 2), st.booleans())))
def test_whatever_happens_the_slot_in_use_stays_open_and_a_busy_one_is_closed_in_time_only(events):
    """A life in hours: looks at any moment, with sessions in the old slots, with proofs that succeed and that fail."""
    logins, now = FIRST, START
    for hours, access, sessions, works in events:
        now += timedelta(hours=hours)
        wanted = rotation.wanted(logins, MONTHLY, ID, START, "Schema")
        seen = {kind: sessions for kind, one in logins.each() if rotation.looked_for(one, MONTHLY, now)}
        found = rotation.turns(logins, MONTHLY, wanted, now, open_=rotation.opened(access), sessions=seen)
        for kind, turn in found.items():
            before = logins.of(kind)
            if turn is Step.CLOSE and sessions:
                assert now >= rotation.closes(before, MONTHLY)
            logins = rotation.taken(logins, turn, [kind], now)
            assert f"{kind}_{before.slot}" in logins.suffixes
        if logins.filling:
            before = logins
            logins = rotation.switched(logins, now) if works else rotation.refused(logins, "no", now)
            kept = {f"{kind}_{before.of(kind).slot}" for kind in before.filling}
            assert kept <= set(logins.suffixes), "whoever uses the old login goes on"
        for kind, one in logins.each():
            assert one.handed == one.slot, (kind, one)


@given(LOGINS.map(lambda one: replace(one, filling=None)), st.integers(0, 10**7))
def test_the_next_look_is_never_in_the_past_of_a_slot_that_may_stay(login, seconds):
    now = START + timedelta(seconds=seconds)
    woken = rotation.wake(login, MONTHLY, None, now)
    if login.replaced is not None:
        assert woken is not None
        soon = now + rotation.SOONEST
        assert now < woken <= max(soon, rotation.closes(login, MONTHLY))
        assert woken == soon or not login.suspected
