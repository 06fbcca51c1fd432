"""Carries the steps out against the API server, and looks at everything that must hold whatever was thrown at it."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from paybill.api.kinds import BY_KIND, KINDS
from paybill.desired import names
from paybill.reconcile.world import World
from tests.cluster.api import Api, Object, path
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.fuzz.answers import given_up, refused_by
from tests.fuzz.hearing import Lines
from tests.fuzz.shapes import PASSWORD
from tests.fuzz.steps import OTHERS_FINALIZER, Step

QUIET_SECONDS = 3.0
TOO_OFTEN = 8
"""Looks at one key within QUIET_SECONDS while nothing changes: more is a loop."""
OURS_FIRST = tuple(kind for kind in reversed(BY_KIND) if kind != "Cell")


@dataclass
class Campaign:
    """One run of steps against one operator."""

    api: Api
    operator: Operator
    journal: Journal
    lines: Lines
    looks: Counter[str] = field(default_factory=Counter)
    taken: Counter[str] = field(default_factory=Counter)
    done: list[tuple[int, Step]] = field(default_factory=list)

    def count_looks(self, world: World) -> None:
        """Count what the workers take up."""
        take = world.queue.take

        async def counted(**options: Any) -> Any:
            work, cause = await take(**options)
            self.looks[f"{work.kind}/{work.name}"] += 1
            return work, cause

        world.queue.take = counted  # type: ignore[method-assign]

    async def carry_out(self, step: Step) -> None:
        """Do one step, whatever the answer."""
        code = await getattr(self, f"_{step.action}")(step)
        self.done.append((code, step))
        self.taken[f"{step.action} {'taken' if 200 <= code < 300 else 'refused'}"] += 1

    async def _put(self, step: Step) -> int:
        found = await self._found(step)
        if found is None:
            return (await self.api.call("POST", path(step.kind), step.body))[0]
        metadata = {**step.body["metadata"], "resourceVersion": found["metadata"]["resourceVersion"]}
        metadata = {"finalizers": found["metadata"].get("finalizers", []), **metadata}
        whole = {**step.body, "metadata": metadata}
        return (await self.api.call("PUT", path(step.kind, name=step.name), whole))[0]

    async def _mark(self, step: Step) -> int:
        return await self._patch(step, {"metadata": step.body})

    async def _status(self, step: Step) -> int:
        return await self._patch(step, {"status": step.body}, "/status")

    async def _hold(self, step: Step) -> int:
        found = await self._found(step)
        finalizers = (found or {}).get("metadata", {}).get("finalizers", [])
        return await self._patch(step, {"metadata": {"finalizers": sorted({*finalizers, OTHERS_FINALIZER})}})

    async def _release(self, step: Step) -> int:
        found = await self._found(step)
        finalizers = (found or {}).get("metadata", {}).get("finalizers", [])
        return await self._patch(
            step, {"metadata": {"finalizers": [one for one in finalizers if one != OTHERS_FINALIZER]}}
        )

    async def _own(self, step: Step) -> int:
        owner = await self.api.get(*step.other)
        if owner is None:
            return 404
        of = {
            "apiVersion": owner["apiVersion"],
            "kind": step.other[0],
            "name": step.other[1],
            "uid": owner["metadata"]["uid"],
        }
        return await self._patch(step, {"metadata": {"ownerReferences": [{**of, "blockOwnerDeletion": True}]}})

    async def _delete(self, step: Step) -> int:
        options = {"propagationPolicy": step.cascade}
        return (await self.api.call("DELETE", path(step.kind, name=step.name), options))[0]

    async def _look(self, step: Step) -> int:
        """Let the operator finish what it has."""
        if step.kind in ("Tenant", "Plan", "Cell"):
            self.operator.look_at(step.kind, step.name, deep=True)
        await self.breathe()
        return 200

    async def breathe(self) -> None:
        """Let the operator finish what it has, if that takes no longer than a moment."""
        with contextlib.suppress(AssertionError):
            await until(lambda: self.operator.call(lambda world: world.queue.idle), seconds=0.5)

    async def _patch(self, step: Step, body: Object, subresource: str = "") -> int:
        where = path(step.kind, name=step.name) + subresource
        return (await self.api.call("PATCH", where, body, "application/merge-patch+json", fieldManager="hand"))[0]

    async def _found(self, step: Step) -> Object | None:
        code, answer = await self.api.call("GET", path(step.kind, name=step.name or "x"))
        return answer if code == 200 and answer.get("kind") == step.kind else None  # a name may lead elsewhere

    async def come_to_rest(self, seconds: float) -> str:
        """Wait until nothing is written, worked on, or looked at over and over; says what goes on if it does not."""
        ends = time.monotonic() + seconds
        while True:
            since = self.journal.mark
            self.journal.begin()
            self.looks.clear()
            await _pass(QUIET_SECONDS)
            writes = Counter(one.what + " " + one.name for one in self.journal.writes())
            self.journal.mark, busy = since, {key: n for key, n in self.looks.items() if n > TOO_OFTEN}
            # A look at a server that does not answer may take longer than that, and has not said anything yet.
            works = self.operator.running and not self.operator.call(lambda world: world.queue.idle)
            if not writes and not busy and not works:
                return ""
            if time.monotonic() > ends:
                return (
                    f"it does not come to rest: in {QUIET_SECONDS} s it wrote {dict(writes)} and looked at {busy}"
                    + (", and works still" if works else "")
                )

    async def all(self) -> list[Object]:
        """Every object of ours that exists."""
        return [obj for kind in KINDS for obj in await self.api.list(kind.kind)]

    def problems_in_answers(self) -> list[str]:
        """5xx to anybody, 4xx to the operator."""
        failed = [one for one in self.journal.all() if one.status >= 500 and not given_up(one, self.journal.user)]
        return [str(one) for one in failed] + refused_by(self.journal)

    def problems_in_log(self) -> list[str]:
        """What the operator, or Kopf, could not explain."""
        return [f"{name}: {text[-1500:]}" for level, name, text in self.lines.said if level >= logging.ERROR]

    async def secrets_shown(self) -> list[str]:
        """Places where a password is to be seen that is none of a Secret."""
        found = [*await self.all(), *await self.api.list("Event"), *await self.api.list("ConfigMap")]
        shown = {f"{one['kind']}/{one['metadata']['name']}": json.dumps(one) for one in found}
        shown |= {f"log line {number}": text for number, (_, _, text) in enumerate(self.lines.said)}
        passwords = {PASSWORD} | {
            base64.b64decode(value).decode()
            for secret in await self.api.list("Secret")
            for key, value in (secret.get("data") or {}).items()
            if key.endswith("password")
        }
        return [f"{where}: {text[:300]}" for where, text in shown.items() if any(one in text for one in passwords)]

    async def unexplained(self) -> list[str]:
        """Objects that were accepted and of which nothing was said since."""
        found = await self.all()
        silent = {(one["kind"], one["metadata"]["name"]) for one in found if _left_alone(one)}
        return [
            f"{one['kind']}/{one['metadata']['name']} generation {one['metadata']['generation']}: {one.get('status')}"
            for one in found
            if not _observed(one) and not _excused(one, silent)
        ]

    async def take_all_away(self, seconds: float) -> list[str]:
        """Delete everything, as somebody does who knows how; returns what does not go. Cells last: drops need them.

        Whose server is out of reach cannot be dropped, and says so: it is let go as it is. So is a backup whose Cell
        names no store any more.
        """
        for obj in await self.all():
            await self._clear_the_way(obj)
        for kinds, last_resort in ((OURS_FIRST, False), (OURS_FIRST, True), (("Cell",), False)):
            for obj in [one for one in await self.all() if one["kind"] in kinds]:
                if last_resort and obj["kind"] == "Tenant":
                    await self._patch(_at(obj), {"spec": {"deletionPolicy": "Retain"}})
                if last_resort and obj["kind"] == "TenantBackup" and not await self._has_store(obj):
                    await self._patch(_at(obj), {"metadata": {"finalizers": []}})
                await self.api.delete(obj["kind"], obj["metadata"]["name"])
            with contextlib.suppress(AssertionError):
                await until(lambda kinds=kinds: self._none(kinds), seconds=seconds)
        return [
            f"{one['kind']}/{one['metadata']['name']}: {one['metadata'].get('finalizers')} {one.get('status')}"
            for one in await self.all()
        ]

    async def _has_store(self, backup: Object) -> bool:
        """Whether the Cell that a backup was taken in still says where its backups lie."""
        cell = await self._found(Step(action="mark", kind="Cell", name=(backup.get("status") or {}).get("cell") or "x"))
        return bool(cell and cell["spec"].get("backup"))

    async def _clear_the_way(self, obj: Object) -> None:
        """Nobody else's finalizer, no pause, and no backup that this version cannot make."""
        annotations = {names.PAUSED_ANNOTATION: None, "paybill.dev/allow-delete": obj["metadata"]["name"]}
        found: Object | None = obj
        for _ in range(5):
            # The operator takes its own off meanwhile, and one that is gone may not be put on again.
            if found is None:
                return
            finalizers = [one for one in found["metadata"].get("finalizers", []) if one == names.FINALIZER]
            metadata = {"annotations": annotations, "ownerReferences": None, "finalizers": finalizers}
            if await self._patch(_at(obj), {"metadata": metadata}) < 400:
                break
            found = await self._found(_at(obj))
        if obj["kind"] == "Tenant" and obj["spec"].get("deletionPolicy") == "Snapshot":
            await self._patch(_at(obj), {"spec": {"deletionPolicy": "Delete"}})

    async def _none(self, kinds: tuple[str, ...]) -> bool:
        return not any([await self.api.list(kind) for kind in kinds])

    def told(self, number: int = 60) -> str:
        """The last steps, for who looks for the cause."""
        rows = enumerate(self.done)
        lines = [
            f"{n}: {code} {step.action} {step.kind}/{step.name} {json.dumps(step.body)[:300]}"
            for n, (code, step) in rows
        ]
        return "\n".join(lines[-number:])


def _at(obj: Object) -> Step:
    return Step(action="mark", kind=obj["kind"], name=obj["metadata"]["name"])


def _left_alone(obj: Object) -> bool:
    """Somebody paused it, or it is on its way out and a finalizer of others holds it."""
    metadata = obj["metadata"]
    return "deletionTimestamp" in metadata or (metadata.get("annotations") or {}).get(names.PAUSED_ANNOTATION) == "true"


def _observed(obj: Object) -> bool:
    return bool((obj.get("status") or {}).get("observedGeneration") == obj["metadata"]["generation"])


def _excused(obj: Object, silent: set[tuple[str, str]]) -> bool:
    """An AddOn has nothing to report; who is paused or goes is left alone, and so is the contract of such a Tenant.

    So is a backup or a restore of which somebody wrote, as a status, that it is over.
    """
    if (obj["kind"], obj["metadata"]["name"]) in silent:
        return True
    if obj["kind"] == "Subscription":
        return ("Tenant", obj["spec"]["tenantRef"]["name"]) in silent
    if obj["kind"] in ("TenantBackup", "TenantRestore"):
        return bool({"failedTime", "verifiedTime", "restoredTime"} & set(obj.get("status") or {}))
    return obj["kind"] == "Plan" and obj["spec"].get("type") == "AddOn"


async def _pass(seconds: float) -> None:
    """Let time pass: what must not happen cannot be waited for."""
    ends = time.monotonic() + seconds
    await until(lambda: time.monotonic() > ends, seconds=seconds + 5)
