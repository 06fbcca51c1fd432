"""Runs a program under the SDK's mocks and writes down what it declares, options included.

The SDK's own mocks see neither options nor dependencies and let a second resource of one name silently take the place
of the first; both are in what a program sends, which is what this monitor reads.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pulumi
from pulumi.runtime import mocks
from pulumi.runtime.proto import resource_pb2

from paybill.engines.pulumi import fakes, shown
from paybill.engines.rendered import RenderedOptions, RenderedResource, RenderError

STACK = "pulumi:pulumi:Stack"
PROVIDER = "pulumi:providers:"


def record(
    program: Callable[[], dict[str, Any]], *, project: str, stack: str, region: str, preview: bool
) -> tuple[list[RenderedResource], dict[str, Any]]:
    """Run ``program``; returns its resources in the order of their addresses, and the values it hands over.

    ``preview``: nothing that only the cloud gives is known, as in the preview of a stack that is not there yet; what is
    handed over then is left out. Raises RenderError when two resources have one address.
    """
    monitor = Monitor(region=region, preview=preview)
    pulumi.runtime.set_mocks(monitor.mocks, project=project, stack=stack, preview=preview, monitor=monitor)
    handed: dict[str, Any] = {}

    def declared() -> pulumi.Output[Any]:
        return pulumi.Output.from_input(program()).apply(handed.update)

    pulumi.runtime.test(declared)()  # type: ignore[no-untyped-call]
    if monitor.repeated:
        raise RenderError(
            "DuplicateResource",
            f"the program declares more than one resource as {', '.join(sorted(monitor.repeated))}: the engine would "
            "refuse it; give each a name of its own",
        )
    return sorted(monitor.rendered.values(), key=lambda one: one.address), handed


class Answers(mocks.Mocks):
    """The cloud's part, made up; in a preview it says nothing."""

    def __init__(self, *, region: str, preview: bool) -> None:
        self._region, self._preview = region, preview

    def new_resource(self, args: mocks.MockResourceArgs) -> tuple[str | None, dict[str, Any]]:
        """The id and the state of a resource that is made."""
        if self._preview:
            return "", {}
        made = fakes.state(args.typ, args.name, args.inputs, region=self._region)
        return fakes.identifier(args.typ, args.name, args.inputs), made

    def call(self, args: mocks.MockCallArgs) -> tuple[dict[str, Any], None]:
        """Refused: what a program looks up in a cloud is no part of its inputs, so nobody could say what it does."""
        raise RenderError(
            "LooksUp", f"the program asks the cloud for {args.token}: its inputs alone must say what it declares"
        )


class Monitor(mocks.MockMonitor):
    """Keeps each declaration as it comes in, before the mocks make an answer of it."""

    def __init__(self, *, region: str, preview: bool) -> None:
        super().__init__(Answers(region=region, preview=preview))
        self.rendered: dict[str, RenderedResource] = {}
        self.repeated: set[str] = set()

    def make_urn(self, parent: str, type_: str, name: str) -> str:
        """The URN as the real engine makes it: the stack is nobody's parent in it, which the mocks get wrong."""
        above = parent.split("::")[2] if parent else ""
        kind = f"{above}${type_}" if above and above != STACK else type_
        return f"urn:pulumi:{pulumi.get_stack()}::{pulumi.get_project()}::{kind}::{name}"

    def RegisterResource(  # noqa: N802 - the name of the call
        self, request: resource_pb2.RegisterResourceRequest
    ) -> resource_pb2.RegisterResourceResponse:
        """Keep one declaration and answer it."""
        if request.type != STACK:
            address = self.make_urn(request.parent, request.type, request.name)
            if address in self.rendered:
                self.repeated.add(address)
            self.rendered[address] = _rendered(address, request)
        answer: resource_pb2.RegisterResourceResponse = super().RegisterResource(request)  # type: ignore[no-untyped-call]
        return answer


def _rendered(address: str, request: resource_pb2.RegisterResourceRequest) -> RenderedResource:
    inputs = shown.values(request.object)
    provider = request.provider.rpartition("::")[0]
    needed = {*request.dependencies, *(urn for each in request.propertyDependencies.values() for urn in each.urns)}
    return RenderedResource(
        address=address,
        type=request.type,
        name=request.name,
        physical="" if request.type.startswith(PROVIDER) else shown.physical_name(request.type, inputs),
        inputs=inputs,
        options=_options(request, provider),
        depends_on=tuple(sorted(needed - {provider, address})),
        data=request.protect,
    )


def _options(request: resource_pb2.RegisterResourceRequest, provider: str) -> RenderedOptions:
    timeouts = request.customTimeouts
    lasting = {name: getattr(timeouts, name) for name in ("create", "update", "delete")}
    return RenderedOptions(
        protect=request.protect,
        retain=request.retainOnDelete,
        provider=provider,
        parent="" if f"::{STACK}::" in request.parent else request.parent,
        ignore_changes=tuple(sorted(request.ignoreChanges)),
        timeouts={name: value for name, value in lasting.items() if value},
    )
