"""The Pulumi engine with the real CLI: what takes data away, where a person allowed exactly that, and where none did.

Each refusal is proved twice: of what holds no data the same change is carried out.
"""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from paybill.engines.folder import Folder
from paybill.engines.operation import Exit, Progress, Request
from paybill.engines.runner import Ended
from tests.engines.pulumi.conftest import Site
from tests.engines.pulumi.test_engine import actions, reason
from tests.local.processes import descendants

pytestmark = pytest.mark.pulumi

HELD = {"foundation": {"make": "a b", "data": "a b"}}
MOVED = {"foundation": {"make": "a b", "data": "a b", "replaced_by": "new", "content": "anew"}}
DROPPED = {"foundation": {"make": "b", "data": "b"}}
GOES = {"inputs": {"retain": False}}


def resources(site: Site) -> list[dict[str, Any]]:
    """What the state has, as the CLI wrote it."""
    (path,) = (site.state / ".pulumi" / "stacks").rglob("abcd2345-local.json")
    return list(json.loads(path.read_text())["checkpoint"]["latest"].get("resources") or ())


def protected(site: Site) -> set[str]:
    return {one["urn"].rpartition("::")[2] for one in resources(site) if one.get("protect")}


def marked(site: Site) -> bool:
    return any("paybill:lifted" in path.read_text() for path in site.state.rglob("*.pulumi-tags"))


def digest(ended: Ended) -> str:
    assert ended.result is not None
    assert ended.result.digest is not None
    return ended.result.digest


async def kill(site: Site, asked: Request, when: Callable[[], bool]) -> Ended:
    """Start an operation and kill all of it as soon as something holds."""
    site.seen.clear()
    task = site.start(asked)
    while not when() and not task.done():  # a deadline of the worker's own ends it
        await asyncio.sleep(0.005)
    assert not task.done(), task
    identity = Folder(asked.work_dir).identity()
    assert identity is not None
    for pid in {identity.pid} | descendants(identity.pid):
        os.kill(pid, signal.SIGKILL)
    ended = await task
    ended.remove()
    return ended


def told(site: Site, phase: str) -> Callable[[], bool]:
    return lambda: any(isinstance(line, Progress) and line.phase == phase for line in site.seen)


async def test_an_approved_replacement_of_protected_data_is_done_and_protection_is_there_again(site: Site) -> None:
    # given: data that is protected, and a change that would replace it
    await site.do("up", **HELD)
    first, second = await site.do("preview", **MOVED), await site.do("preview", **MOVED)

    # then: the preview says all of it, the same each time, and has changed nothing
    assert reason(first) == (Exit.CHANGES, None)
    assert actions(first) == {("replace", "a"), ("replace", "b")}
    assert first.result is not None
    assert all(one.data for one in first.result.changes)
    assert digest(first) == digest(second)
    assert protected(site) == {"a", "b"}

    # when: it is tried without a word, with a word for something else, and with the word for this
    unapproved = await site.do("up", **MOVED)
    assert reason(unapproved) == (Exit.POLICY, "DataProtected")
    assert digest(unapproved) == digest(first)
    other = await site.do("up", **HELD | DROPPED, destroys_data=True, expected=digest(first))
    assert reason(other) == (Exit.POLICY, "ChangedSinceApproval")
    assert site.made == {"a": "a", "b": "a"}
    done = await site.do("up", **MOVED, destroys_data=True, expected=digest(first))

    # then
    assert reason(done) == (Exit.OK, None)
    assert actions(done) == {("replace", "a"), ("replace", "b")}
    assert site.made == {"a": "anew", "b": "anew"}
    assert (protected(site), marked(site)) == ({"a", "b"}, False)
    assert all(one.get("retainOnDelete") for one in resources(site) if one["type"].endswith(":File"))
    assert (await site.do("preview", **MOVED)).exit == Exit.OK


async def test_what_holds_no_data_is_replaced_without_a_word(site: Site) -> None:
    """The other half of the proof: only what was refused above for its data is what is refused."""
    await site.do("up", foundation={"make": "a b"})
    done = await site.do("up", foundation={"make": "a b", "replaced_by": "new", "content": "anew"})
    assert (reason(done), site.made) == ((Exit.OK, None), {"a": "anew", "b": "anew"})


async def test_an_approved_deletion_takes_the_data_that_is_named_and_lifts_no_other_protection(site: Site) -> None:
    kept = HELD | GOES
    await site.do("up", **kept)
    looked = await site.do("preview", **DROPPED | GOES)
    assert actions(looked) == {("delete", "a")}
    assert reason(await site.do("up", **DROPPED | GOES)) == (Exit.POLICY, "DataProtected")

    unlifted: list[set[str]] = []
    asked = site.request("up", **DROPPED | GOES, destroys_data=True, expected=digest(looked))
    task = site.start(asked)
    await site.until(lambda: protected(site) != {"a", "b"} or task.done())
    unlifted.append(protected(site))
    ended = await task
    ended.remove()

    assert (reason(ended), site.made, unlifted) == ((Exit.OK, None), {"b": "a"}, [{"b"}])
    assert (protected(site), marked(site)) == ({"b"}, False)


async def test_an_approved_deletion_of_what_is_retained_only_leaves_the_stack(site: Site) -> None:
    await site.do("up", **HELD)
    looked = await site.do("preview", **DROPPED)
    done = await site.do("up", **DROPPED, destroys_data=True, expected=digest(looked))
    assert done.result is not None
    assert (reason(done), done.result.retained, actions(done)) == ((Exit.OK, None), ("a",), set())
    assert site.made == {"a": "a", "b": "a"}
    assert protected(site) == {"b"}


async def test_an_approved_change_that_fails_leaves_protected_what_it_did_not_reach(site: Site) -> None:
    # given: of what an approved change replaces the first cannot be made anew
    await site.do("up", **HELD)
    failing = {"foundation": MOVED["foundation"] | {"content": "fail: no"}}
    looked = await site.do("preview", **failing)
    ended = await site.do("up", **failing, destroys_data=True, expected=digest(looked))
    assert reason(ended) == (Exit.USER, "OperationFailed")
    assert not ended.recovery_needed

    # then: what is there is protected, and nothing of it is done once more by the same word
    there = {one["urn"].rpartition("::")[2] for one in resources(site) if not one.get("pendingReplacement")}
    assert protected(site) >= there & {"a", "b"}
    assert not marked(site)
    again = await site.do("up", **failing, destroys_data=True, expected=digest(looked))
    assert reason(again)[1] in ("ChangedSinceApproval", "OperationFailed")


UP_STEPS: dict[str, Callable[[Site], Callable[[], bool]]] = {
    "before it is lifted": lambda site: told(site, "unprotect"),
    "when it is marked": lambda site: lambda: marked(site),
    "when it is lifted": lambda site: lambda: protected(site) == {"b"},
    "while it is applied": lambda site: told(site, "apply"),
    "before it is put back": lambda site: told(site, "protect"),
}


@pytest.mark.parametrize("step", [pytest.param(one, marks=() if one == "when it is lifted" else pytest.mark.exhaustive)
                                  for one in sorted(UP_STEPS)])  # fmt: skip
async def test_killed_while_protection_is_lifted_it_is_put_back_by_a_recovery(site: Site, step: str) -> None:
    """Else the next change that nobody allowed would take data away that a program no longer declares."""
    await site.do("up", **HELD | GOES)
    looked = await site.do("preview", **DROPPED | GOES)
    asked = site.request("up", **DROPPED | GOES, destroys_data=True, expected=digest(looked))
    ended = await kill(site, asked, UP_STEPS[step](site))
    assert ended.recovery_needed

    # Nothing is done on what is left, and the recovery that must come first puts it back.
    refused = await site.do("up", **DROPPED | GOES)
    assert reason(refused) in {(Exit.TRANSIENT, "RecoveryNeeded"), (Exit.POLICY, "DataProtected"), (Exit.OK, None)}
    if step == "when it is lifted":
        assert reason(refused) == (Exit.TRANSIENT, "RecoveryNeeded")
        assert refused.recovery_needed
    recovered = await site.do("recover", **DROPPED | GOES)
    assert reason(recovered) == (Exit.OK, None)
    assert not marked(site)
    assert protected(site) == set(site.made) & {"a", "b"}
    if "a" in site.made:
        assert reason(await site.do("up", **DROPPED | GOES)) == (Exit.POLICY, "DataProtected")
        again = await site.do("preview", **DROPPED | GOES)
        approved = await site.do("up", **DROPPED | GOES, destroys_data=True, expected=digest(again))
        assert reason(approved) == (Exit.OK, None)
    assert site.made == {"b": "a"}
    assert protected(site) == {"b"}


async def test_without_the_marks_what_was_lifted_would_go_unasked(site: Site) -> None:
    """The other half of the proof: the marks are what keeps it."""
    await site.do("up", **HELD | GOES)
    looked = await site.do("preview", **DROPPED | GOES)
    asked = site.request("up", **DROPPED | GOES, destroys_data=True, expected=digest(looked))
    await kill(site, asked, lambda: protected(site) == {"b"})
    for path in site.state.rglob("*.pulumi-tags*"):
        path.unlink()
    for path in (site.state / ".pulumi" / "locks").rglob("*.json"):
        path.unlink()
    done = await site.do("up", **DROPPED | GOES)
    assert (reason(done), site.made) == ((Exit.OK, None), {"b": "a"})
