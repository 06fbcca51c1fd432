"""What each phase means for its Tenant: the whole table, read back."""

import pytest

from paybill.api.plan import Payment
from paybill.lifecycle.consequences import consequence
from paybill.lifecycle.phases import EFFECTS, OVER, Access, Phase

TABLE = {
    # phase: provision, pods, access, changes that cost more, what the app reads
    Phase.PENDING: (False, False, Access.NONE, False, "suspended"),
    Phase.AWAITING_PAYMENT: (False, False, Access.NONE, False, "suspended"),
    Phase.TRIALING: (True, True, Access.FULL, True, "full"),
    Phase.ACTIVE: (True, True, Access.FULL, True, "full"),
    Phase.PAST_DUE: (True, True, Access.FULL, False, "full"),
    Phase.RESTRICTED: (True, True, Access.READ_ONLY, False, "readonly"),
    Phase.SUSPENDED: (False, False, Access.NONE, False, "suspended"),
    Phase.ENDED: (False, False, Access.NONE, False, "suspended"),
    Phase.ARCHIVED: (False, False, Access.NONE, False, "suspended"),
    Phase.DELETED: (False, False, Access.NONE, False, "suspended"),
    Phase.ABANDONED: (False, False, Access.NONE, False, "suspended"),
}


@pytest.mark.parametrize("phase", Phase)
def test_the_effect_of_a_phase(phase):
    effect = EFFECTS[phase]
    assert (effect.provision, effect.pods, effect.access, effect.cost_raising, effect.app_access) == TABLE[phase]


def test_nothing_is_built_only_to_be_stopped():
    assert all(effect.pods for effect in EFFECTS.values() if effect.provision)


def test_whoever_may_run_pods_may_at_least_read():
    assert all(effect.pods == (effect.access is not Access.NONE) for effect in EFFECTS.values())


def test_what_is_over_runs_nothing():
    assert not any(EFFECTS[phase].pods for phase in OVER)
    assert {"Ended", "Archived", "Deleted", "Abandoned"} == OVER


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("phase", Phase)
def test_every_phase_has_words_for_what_it_does(phase, shared):
    assert consequence(phase, Payment(), shared=shared)
