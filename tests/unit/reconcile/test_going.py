"""A backup or a restore that is deleted and cannot go says on itself what keeps it, and not only in the log."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from paybill.api.failures import Blocked, Failure, Retry
from paybill.reconcile import backup, restore, restore_steps

KEPT = [
    pytest.param(Blocked("NoBackupStore", "Cell eu has no spec.backup"), id="blocked"),
    pytest.param(Retry("DatabaseUnreachable", "no route", after=5.0), id="to be tried again"),
]


class Jobs:
    async def stop(self, _work: object) -> None:
        pass


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[Failure]:
    found: list[Failure] = []

    async def tell(_world: object, _one: object, failure: Failure, _status: object) -> None:
        found.append(failure)

    monkeypatch.setattr(backup, "_tell", tell)
    monkeypatch.setattr(restore, "tell", tell)
    return found


@pytest.mark.parametrize("failure", KEPT)
@pytest.mark.parametrize(
    ("module", "what"), [(backup, "its data is not removed"), (restore, "what it prepared is not removed")]
)
async def test_it_says_what_keeps_it(
    monkeypatch: pytest.MonkeyPatch, told: list[Failure], module: Any, what: str, failure: Failure
) -> None:
    async def kept(*_: object) -> None:
        raise failure

    monkeypatch.setattr(backup, "_remove", kept)
    monkeypatch.setattr(restore_steps, "clear", kept)
    world: Any = SimpleNamespace(jobs=Jobs())
    one: Any = SimpleNamespace(metadata=SimpleNamespace(name="one"), status=None)

    with pytest.raises(type(failure)) as raised:
        await module._go(world, one, "test")

    assert raised.value is failure, "the queue goes by it: when, and whether at all"
    (said,) = told
    assert (type(said), said.reason) == (type(failure), failure.reason)
    assert said.message.startswith(what)
    assert failure.message in said.message
