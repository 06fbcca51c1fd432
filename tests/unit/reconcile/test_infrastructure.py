"""Where a tenant's infrastructure is, nobody loses sight of: not when its Cell changes, not when it is deleted."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from paybill.api.cell import Cell
from paybill.api.failures import Blocked, Failure, Retry
from paybill.api.plan import PlanSpec
from paybill.control.operations import StackFacts
from paybill.desired import names
from paybill.lifecycle.operation import Run
from paybill.reconcile import infrastructure, own_server
from paybill.reconcile.operations import Operations
from paybill.reconcile.steps import Scope
from tests.unit.reconcile.test_operations import NOW, Memory, row

ID = "k3x9m2qd"
SCOPE = Scope(cause="Tenant/acme was deleted", tenant_id=ID, cell="eu")
PULUMI = {"engine": {"type": "Pulumi"}, "region": "eu-west-1"}
THERE = StackFacts(tenant_id=ID, engine="Pulumi", stack=f"{ID}-eu-west-1", applied_digest="sha256:a", handed="sha256:h")


class Scene:
    """One tenant with a stack, in a Cell that the test describes."""

    def __init__(self, tmp_path: Any, *, level: str = "Server", cell: dict[str, Any] | None) -> None:
        self.store = Memory()
        spec = {"provider": "AWS", **(cell or {})}
        found = Cell.model_validate({"metadata": {"name": "eu"}, "spec": spec}) if cell is not None else None
        plan = PlanSpec.model_validate({"limits": {"database": {"connections": 5}}})
        self.claim: Any = SimpleNamespace(
            id=ID, tenant_name="acme", tenant_uid="u", origin_uid="u", installation="one", cell="eu",
            server=f"own-{ID}", compute="Namespace", level=level, plan_name="silo", plan_revision="r1", state="deleted",
        )  # fmt: skip
        self.plan = plan
        self.attached: list[str] = []
        self.world: Any = SimpleNamespace(
            epoch=1,
            now=lambda: NOW,
            declared=SimpleNamespace(cells={"eu": found} if found else {}, approvals_of=lambda _: ()),
            registry=SimpleNamespace(by_id=lambda _: None),
            revisions=SimpleNamespace(get=lambda *_: plan),
            queue=SimpleNamespace(add=lambda *_: None),
            operations=Operations(store=self.store, folder=tmp_path),
        )
        tenant = SimpleNamespace(
            spec=SimpleNamespace(deletion_policy="Retain"), metadata=SimpleNamespace(annotations={})
        )
        standing = SimpleNamespace(phase=None)
        self.current: Any = SimpleNamespace(
            claim=self.claim, tenant=tenant, standing=standing, cause="test", unapplied=None
        )

    async def gone(self) -> bool | str:
        """Whether it is destroyed, or why not."""
        try:
            return await infrastructure.destroyed(self.world, self.claim, SCOPE)
        except Failure as failure:
            return failure.reason

    async def made(self, monkeypatch: pytest.MonkeyPatch) -> tuple[Failure | None, bool]:
        """Why what is wanted is not applied, and whether the tenant's server was connected all the same."""

        async def attach(*_: object, deep: bool) -> None:
            self.attached.append(ID)

        monkeypatch.setattr(own_server, "attach", attach)
        await infrastructure.ensure(self.world, self.current, self.plan, deep=False)
        return self.current.unapplied, bool(self.attached)

    async def operations_end(self, operation: str) -> None:
        """Have an operation end well."""
        opened = self.store.open_of(ID)
        assert opened is not None
        assert opened.id == operation
        await self.store.change(opened, epoch=1, state="Succeeded", ended_time=NOW)

    def open(self) -> tuple[str, str] | None:
        found = self.store.open_of(ID)
        return (found.kind, found.state) if found is not None else None


@pytest.mark.parametrize(
    ("level", "cell", "why"),
    [
        ("Server", None, "NoEngine"),
        ("Server", {"region": "eu-west-1"}, "NoEngine"),
        ("Schema", None, "NoEngine"),
        ("Schema", {"region": "eu-west-1"}, "NoEngine"),
        ("Schema", {"engine": {"type": "Embedded"}, "region": "eu-west-1"}, "NoEngine"),
        ("Server", {"engine": {"type": "Terraform"}, "region": "eu-west-1"}, "StackElsewhere"),
        ("Server", {"engine": {"type": "Pulumi"}, "region": "eu-west-2"}, "StackElsewhere"),
    ],
)
async def test_what_its_cell_no_longer_knows_the_way_to_is_not_taken_for_destroyed(
    tmp_path: Any, level: str, cell: dict[str, Any] | None, why: str
) -> None:
    scene = Scene(tmp_path, level=level, cell=cell)
    await scene.store.put_stack(THERE, epoch=1)
    assert await scene.gone() == why
    assert scene.open() is None


@pytest.mark.parametrize("cell", [{"engine": {"type": "Terraform"}, "region": "eu-west-1"}, {}], ids=["other", "none"])
async def test_no_second_empty_server_is_made_where_the_cell_changed_and_the_first_one_serves_on(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, cell: dict[str, Any]
) -> None:
    scene = Scene(tmp_path, cell=cell)
    await scene.store.put_stack(THERE, epoch=1)
    trouble, connected = await scene.made(monkeypatch)
    assert isinstance(trouble, Blocked)
    assert connected
    assert scene.open() is None


async def test_a_stack_that_is_destroyed_may_be_made_elsewhere(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, cell={"engine": {"type": "Terraform"}, "region": "eu-west-2"})
    await scene.store.put_stack(StackFacts(**(vars(THERE) | {"destroyed_time": NOW})), epoch=1)
    trouble, _ = await scene.made(monkeypatch)
    assert isinstance(trouble, Retry)
    assert scene.open() == ("up", "Waiting")


@pytest.mark.parametrize("kind", ["up", "preview", "drift"])
async def test_a_deleted_tenants_operation_that_has_not_begun_is_taken_back(tmp_path: Any, kind: str) -> None:
    """It may wait for what never comes, such as a Secret that is gone; and a look for drift hides behind no newest."""
    scene = Scene(tmp_path, cell=PULUMI)
    await scene.store.put_stack(THERE, epoch=1)
    await scene.store.put(row("one", tenant_id=ID, kind=kind), epoch=1)
    assert await scene.gone() is False
    assert scene.open() == ("destroy", "Waiting")


async def test_of_one_for_whom_nothing_was_ever_begun_nothing_is_left(tmp_path: Any) -> None:
    scene = Scene(tmp_path, cell=PULUMI)
    await scene.store.put(row("one", tenant_id=ID), epoch=1)
    assert await scene.gone() is True


async def test_a_change_does_not_wait_behind_a_look_for_drift_that_has_not_begun(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = Scene(tmp_path, cell=PULUMI)
    await scene.store.put_stack(THERE, epoch=1)
    await scene.store.put(row("one", tenant_id=ID, kind="drift"), epoch=1)
    await scene.made(monkeypatch)
    assert scene.open() is None
    await scene.made(monkeypatch)
    assert scene.open() == ("up", "Waiting")


async def test_what_keeps_an_operation_from_beginning_is_told(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(tmp_path, cell=PULUMI)
    await scene.store.put_stack(THERE, epoch=1)
    await scene.made(monkeypatch)
    opened = scene.store.open_of(ID)
    assert opened is not None
    why = Retry("SecretMissing", "Secret cloud does not exist")
    scene.world.operations.held[opened.id] = why
    assert await scene.made(monkeypatch) == (why, True)


@pytest.mark.parametrize(
    ("word", "kind"), [("0a1b2c3d", "preview"), ("destroy-0a1b2c3d", "preview_destroy"), ("destroy", None), ("", None)]
)
async def test_what_is_asked_for_by_an_annotation_is_looked_at_once(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch, word: str, kind: str | None
) -> None:
    # given: a tenant that has what it should have
    scene = Scene(tmp_path, cell=PULUMI)
    wanted = infrastructure.wanted_of(scene.world, scene.claim, scene.plan, "Retain")
    assert wanted is not None
    there = vars(THERE) | {"applied_digest": wanted.digest, "applied_time": NOW, "drift_checked_time": NOW}
    await scene.store.put_stack(StackFacts(**there), epoch=1)
    asked: set[str] = set()

    async def known(operation: str) -> bool:
        return operation in asked

    monkeypatch.setattr(scene.store, "known", known)
    scene.current.tenant.metadata.annotations[names.PREVIEW_ANNOTATION] = word

    # when
    trouble, _ = await scene.made(monkeypatch)

    # then: it is queued under the word's id, stands in nobody's way, and is not what the next one is decided by
    opened = scene.store.open_of(ID)
    assert (opened.kind if opened is not None else None) == kind
    assert trouble is None
    if opened is not None:
        assert opened.id == f"{ID}-0a1b2c3d"
        assert (scene.store.newest(ID) is None) is (kind == "preview_destroy")
        await scene.operations_end(opened.id)
        asked.add(opened.id)
        await scene.made(monkeypatch)
        assert scene.store.open_of(ID) is None


@pytest.mark.parametrize("takes_away", [True, False])
async def test_an_approved_change_that_is_tried_again_is_held_back_by_a_halt_like_the_first_time(
    tmp_path: Any, takes_away: bool
) -> None:
    """What it had done before it failed, or that nobody knows, makes it no harmless one."""
    scene = Scene(tmp_path, cell=PULUMI)
    before = row("one", tenant_id=ID, expected="sha256:e", destructive=takes_away, state="Failed", ended_time=NOW)
    await scene.store.put(before, epoch=1)
    wanted = infrastructure.wanted_of(scene.world, scene.claim, scene.plan, "Retain")
    assert wanted is not None
    again = Run(kind="up", expected="sha256:e", attempt=2)
    begun = await infrastructure.begin(scene.world, scene.claim, wanted, again, cause="test", tier="Paying")
    assert begun.destructive is takes_away
