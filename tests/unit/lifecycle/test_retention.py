"""What stands between a contract that is over and the destruction of its data: each proof, alone, keeps it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from paybill.lifecycle.phases import Phase
from paybill.lifecycle.retention import Proofs, refuse_archive, refuse_delete
from paybill.lifecycle.subscription import EffectTimes, Hold
from tests.unit.lifecycle.contracts import SECOND, at, contract, manual

OVER = contract(manual(-60), times=EffectTimes(suspended=at(-20), ended=at(0)))
PROVED = Proofs(noticed=at(0), verified=at(30))
LEGAL = Hold(name="legal", blocks="Changes", reason="litigation")


def test_with_every_proof_it_is_archived_when_retention_is_over():
    assert refuse_archive(OVER, Phase.ENDED, PROVED, at(30)) is None
    wait = refuse_archive(OVER, Phase.ENDED, PROVED, at(30) - SECOND)
    assert wait is not None
    assert (wait.reason, wait.until) == ("Retained", at(30))


@pytest.mark.parametrize(
    ("agreed", "phase", "proofs", "reason"),
    [
        pytest.param(OVER, Phase.SUSPENDED, PROVED, "NotEnded", id="it is not over"),
        pytest.param(replace(OVER, times=EffectTimes()), Phase.ENDED, PROVED, "NotEnded", id="nobody knows since when"),
        pytest.param(replace(OVER, holds=(LEGAL,)), Phase.ENDED, PROVED, "HeldBack", id="a hold of any kind"),
        pytest.param(OVER, Phase.ENDED, Proofs(verified=at(30)), "NoticeNotGiven", id="no notice"),
        pytest.param(
            OVER, Phase.ENDED, Proofs(noticed=at(-9), verified=at(30)), "NoticeNotGiven", id="notice of another end"
        ),
        pytest.param(OVER, Phase.ENDED, Proofs(noticed=at(29), verified=at(30)), "NoticeGiven", id="notice too late"),
        pytest.param(OVER, Phase.ENDED, Proofs(noticed=at(0)), "FinalBackup", id="no backup"),
        pytest.param(
            OVER, Phase.ENDED, Proofs(noticed=at(0), verified=at(-1)), "FinalBackup", id="a backup of another end"
        ),
    ],
)
def test_without_one_proof_nothing_is_archived(agreed, phase, proofs, reason):
    wait = refuse_archive(agreed, phase, proofs, at(31))
    assert wait is not None
    assert wait.reason == reason
    assert wait.message


def test_late_notice_has_its_days_too():
    late = Proofs(noticed=at(40), verified=at(40))
    wait = refuse_archive(OVER, Phase.ENDED, late, at(41))
    assert wait is not None
    assert wait.until == at(43)
    assert refuse_archive(OVER, Phase.ENDED, late, at(43)) is None


ARCHIVED = replace(OVER, times=replace(OVER.times, archived=at(30)))


def test_the_last_backup_goes_when_its_days_are_over():
    assert refuse_delete(ARCHIVED, Phase.ARCHIVED, at(90)) is None
    early = refuse_delete(ARCHIVED, Phase.ARCHIVED, at(90) - SECOND)
    assert early is not None
    assert (early.reason, early.until) == ("KeptInArchive", at(90))
    held = refuse_delete(replace(ARCHIVED, holds=(LEGAL,)), Phase.ARCHIVED, at(999))
    assert held is not None
    assert held.reason == "HeldBack"
    unknown = refuse_delete(OVER, Phase.ENDED, at(999))
    assert unknown is not None
    assert unknown.reason == "NotArchived"


def test_who_came_back_and_went_again_has_all_its_days_once_more():
    """Paid while its data was in the archive, and ended again before it was restored."""
    again = replace(ARCHIVED, times=replace(ARCHIVED.times, ended=at(80)))
    wait = refuse_delete(again, Phase.ARCHIVED, at(100))
    assert wait is not None
    assert wait.until == at(80) + timedelta(days=60)
