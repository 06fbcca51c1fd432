"""A rendering as people and other programs read it: a table, JSON, or a graph for Mermaid or Graphviz."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from paybill.cli.output import columns
from paybill.desired.stack import StackInputs
from paybill.engines.rendered import RenderedResource, Rendering

PROVIDER = "pulumi:providers:"
View = Callable[[StackInputs, Rendering], Iterator[str]]


def table(inputs: StackInputs, found: Rendering) -> Iterator[str]:
    """What there is, how it is kept, and what it needs."""
    listed = resources(found)
    yield f"{inputs.provider} {inputs.model}, tenant {inputs.tenant_id}, stack {inputs.stack}: {_count(listed)}"
    if listed:
        short = _names(listed)
        yield ""
        yield from columns(
            ("TYPE", "NAME", "IN THE CLOUD", "KEPT", "NEEDS"),
            ((_type(one), one.name, one.physical or None, _kept(one), _needs(one, short) or None) for one in listed),
        )
    if found.examples:
        yield "\nExamples stand in for what a Cell gives in spec.engine.foundation:"
        yield from (f"  {name}={value}" for name, value in sorted(found.examples.items()))


def mermaid(_inputs: StackInputs, found: Rendering) -> Iterator[str]:
    """A Mermaid flowchart; what holds data is round."""
    ids = _ids(found)
    yield "flowchart LR"
    for one in resources(found):
        left, right = ("([", "])") if one.data else ("[", "]")
        yield f'  {ids[one.address]}{left}"{_type(one)}<br/>{one.name}"{right}'
    yield from (f"  {ids[below]} --> {ids[above]}" for below, above in _edges(found))


def dot(_inputs: StackInputs, found: Rendering) -> Iterator[str]:
    """A graph for Graphviz; what holds data is a cylinder."""
    ids = _ids(found)
    yield "digraph tenant {"
    yield "  rankdir=LR;"
    for one in resources(found):
        shape = "cylinder" if one.data else "box"
        yield f'  {ids[one.address]} [label="{_type(one)}\\n{one.name}", shape={shape}];'
    yield from (f"  {ids[below]} -> {ids[above]};" for below, above in _edges(found))
    yield "}"


VIEWS: Mapping[str, View] = MappingProxyType({"table": table, "mermaid": mermaid, "dot": dot})


def as_json(inputs: StackInputs, found: Rendering) -> dict[str, Any]:
    """All of it, the provider among the resources."""
    return {"inputs": inputs.model_dump(mode="json"), "digest": inputs.digest(), **found.model_dump(mode="json")}


def resources(found: Rendering) -> list[RenderedResource]:
    """What is made in the cloud: all but the provider, which is a login."""
    return [one for one in found.resources if not one.type.startswith(PROVIDER)]


def _count(listed: list[RenderedResource]) -> str:
    if not listed:
        return "nothing of its own"
    data = sum(one.data for one in listed)
    return f"{len(listed)} resources, {data} of which hold data"


def _kept(one: RenderedResource) -> str:
    match one.options.protect, one.options.retain:
        case True, True:
            return "protected, stays"
        case True, False:
            return "protected"
        case False, True:
            return "stays"
        case _:
            return "goes"


def _type(one: RenderedResource) -> str:
    """The type without what it says twice: aws:rds/instance:Instance is aws:rds:Instance."""
    return re.sub(r"/[a-z][A-Za-z0-9]*:", ":", one.type)


def _names(listed: list[RenderedResource]) -> dict[str, str]:
    return {one.address: f"{_type(one).rpartition(':')[2]} {one.name}" for one in listed}


def _needs(one: RenderedResource, short: dict[str, str]) -> str:
    return ", ".join(short[address] for address in one.depends_on if address in short)


def _ids(found: Rendering) -> dict[str, str]:
    return {one.address: f"r{index}" for index, one in enumerate(resources(found))}


def _edges(found: Rendering) -> Iterator[tuple[str, str]]:
    ids = _ids(found)
    return ((one.address, above) for one in resources(found) for above in one.depends_on if above in ids)
