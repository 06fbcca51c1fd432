"""The Pulumi engine with the real CLI: stacks that go, finished or not, and what stays of them."""

from collections.abc import Callable

import pytest

from paybill.engines.operation import Exit
from tests.engines.pulumi.conftest import Site
from tests.engines.pulumi.test_approved import digest, kill, marked, protected, told
from tests.engines.pulumi.test_engine import actions, reason

pytestmark = pytest.mark.pulumi

GOES = {"inputs": {"retain": False}}
HALF = {"foundation": {"make": "a b c", "data": "a c"}}
"""A stack of which ``b`` cannot be made: somebody else's file is in its place."""
WHOLE = {"foundation": {"make": "a b c", "data": "a c"}}


async def half_made(site: Site, **more: object) -> None:
    (site.cloud / "b").write_text("somebody's")
    ended = await site.do("up", **HALF | more)
    assert ended.exit == Exit.USER
    assert set(site.made) == {"a", "b", "c"}


async def test_a_stack_that_was_never_finished_goes(site: Site) -> None:
    await half_made(site, **GOES)
    refused = await site.do("destroy", **HALF | GOES)
    assert reason(refused) == (Exit.POLICY, "DataProtected")
    assert digest(refused)
    assert protected(site) == {"a", "c"}

    ended = await site.do("destroy", **HALF | GOES, destroys_data=True)

    assert reason(ended) == (Exit.OK, None)
    assert actions(ended) == {("delete", "a"), ("delete", "c")}
    assert site.made == {"b": "somebody's"}
    assert not list((site.state / ".pulumi" / "stacks").rglob("abcd2345-local.json"))


async def test_a_stack_whose_program_fails_goes(site: Site) -> None:
    await site.do("up", **WHOLE | GOES)
    broken = {"foundation": WHOLE["foundation"] | {"behave": "raise"}}
    ended = await site.do("destroy", **broken | GOES, destroys_data=True)
    assert (reason(ended), site.made) == ((Exit.OK, None), {})


async def test_of_a_stack_that_was_never_finished_what_is_retained_stays(site: Site) -> None:
    await half_made(site)
    ended = await site.do("destroy", **HALF)
    assert ended.result is not None
    assert (reason(ended), ended.result.retained) == ((Exit.OK, None), ("a", "c"))
    assert site.made == {"a": "a", "b": "somebody's", "c": "a"}


STEPS: dict[str, Callable[[Site], Callable[[], bool]]] = {
    "1 before protection is lifted": lambda site: told(site, "unprotect"),
    "2 when it is marked": lambda site: lambda: marked(site),
    "3 when it is lifted": lambda site: lambda: protected(site) == set(),
    "4 before the clouds' own is lifted": lambda site: told(site, "unguard"),
    "5 while things go": lambda site: told(site, "destroy"),
    "6 before the rest is protected again": lambda site: told(site, "protect"),
    "7 before the stack is forgotten": lambda site: told(site, "retain"),
}


@pytest.mark.exhaustive
@pytest.mark.parametrize("step", sorted(STEPS))
async def test_killed_at_any_step_a_destruction_is_finished_by_another(site: Site, step: str) -> None:
    await half_made(site, **GOES)
    asked = site.request("destroy", **HALF | GOES, destroys_data=True)
    ended = await kill(site, asked, STEPS[step](site))
    assert ended.recovery_needed
    recovered = await site.do("recover", **HALF | GOES, destroys_data=True)
    assert reason(recovered) == (Exit.OK, None)
    assert not marked(site)
    assert protected(site) == set(site.made) & {"a", "c"}
    done = await site.do("destroy", **HALF | GOES, destroys_data=True)
    assert (reason(done), site.made) == ((Exit.OK, None), {"b": "somebody's"})


@pytest.mark.parametrize("step", ["destroy", pytest.param("retain", marks=pytest.mark.exhaustive)])
async def test_killed_while_something_stays_it_is_named_all_the_same(site: Site, step: str) -> None:
    mixed = {"foundation": {"make": "a b c", "data": "a c"}}
    await site.do("up", **mixed)
    await kill(site, site.request("destroy", **mixed), told(site, step))
    assert reason(await site.do("recover", **mixed)) == (Exit.OK, None)
    done = await site.do("destroy", **mixed)
    assert done.result is not None
    assert (reason(done), done.result.retained) == ((Exit.OK, None), ("a", "c"))
    assert site.made == {"a": "a", "c": "a"}
