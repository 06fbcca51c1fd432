"""The demo's support agent: no model, a script that makes the call which comes next, over MCP with its token.

It keeps nothing: what comes next, with which arguments, the database says through the gateway, and a person's word it
can only wait for.
"""

from __future__ import annotations

import asyncio
import textwrap
import time
from collections.abc import Mapping
from typing import Any, Final

from paybill.api.failures import Blocked
from paybill.gateway.calling import Answer, Speaker
from paybill.local.agents_scene import Tell

MOST_STEPS: Final = 20
VERDICT: Final = "refund"
_PAUSE: Final = 0.3
_WIDE: Final = 96


async def work(speaker: Speaker, run: str, tell: Tell) -> Mapping[str, Any]:
    """Do what comes next in ``run`` until a person is asked or it is done; returns that, as ``run_next`` says it.

    Raises ``Blocked("AgentRefused")`` where a call that comes next is refused.
    """
    for _ in range(MOST_STEPS):
        following = await _asked(speaker, run)
        match following["next"]:
            case "call" | "compensation":
                await _call(speaker, following, tell)
            case "decision":
                said = dict.fromkeys(following["out"], VERDICT)
                _accepted(await speaker.call("run_decide", run=run, values=said))
                tell(f"  {following['step']:<8}decides: {', '.join(said.values())}")
            case _:
                return following
    raise Blocked("AgentRefused", f"run {run} does not come to an end")


async def wait(speaker: Speaker, run: str, *, seconds: float) -> None:
    """Wait until nobody is asked any more; raises ``Blocked("NotApproved")``."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if (await _asked(speaker, run))["next"] != "approval":
            return
        await asyncio.sleep(_PAUSE)
    raise Blocked("NotApproved", f"run {run} waits for a person still after {seconds:.0f} s")


async def _asked(speaker: Speaker, run: str) -> Mapping[str, Any]:
    return _accepted(await speaker.call("run_next", run=run)).content


async def _call(speaker: Speaker, following: Mapping[str, Any], tell: Tell) -> None:
    step, tool, arguments = following["step"], following["tool"], _plain(following["arguments"])
    answer = _accepted(await speaker.call(tool, **arguments))
    key = ", ".join(map(str, arguments["key"].values()))
    collection, _, operation = str(tool).rpartition("_")
    if operation != "get":
        values = ", ".join(f"{name} = {value}" for name, value in arguments["values"].items())
        tell(f"  {step:<8}{operation}s {collection} {key}: {values}")
        return
    row: Mapping[str, Any] = answer.content["row"] or {}
    marked = {name: value["untrusted"] for name, value in row.items() if isinstance(value, dict)}
    rest = ", ".join(f"{name} {value}" for name, value in row.items() if name not in {*marked, "id", "version"})
    tell(f"  {step:<8}reads {collection} {key}: {rest}")
    for name, text in marked.items():
        tell(f"{'':10}{name}, a stranger's text, and marked as such:")
        for line in textwrap.wrap(f'"{text}"', _WIDE):
            tell(f"{'':12}{line}")


def _plain(value: Any) -> Any:
    """Arguments as they are said: what is marked as a stranger's text is passed on without its mark."""
    match value:
        case {"untrusted": text}:
            return text
        case dict():
            return {name: _plain(one) for name, one in value.items()}
        case list():
            return [_plain(one) for one in value]
        case _:
            return value


def _accepted(answer: Answer) -> Answer:
    """The answer; raises ``Blocked("AgentRefused")`` where there is none."""
    if answer.refused:
        raise Blocked("AgentRefused", f"the support agent was refused what its workflow asks for: {answer.refused}")
    return answer
