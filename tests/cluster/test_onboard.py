"""``paybill onboard``: from nothing to Ready in one command, and again without touching anything."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from paybill.cli.onboard import onboard
from tests.cluster.api import Reference, holds
from tests.cluster.samples import FAR


async def run(kubeconfig: Path, *arguments: str) -> Result:
    words = [*arguments, "--kubeconfig", str(kubeconfig)]
    return await asyncio.to_thread(CliRunner().invoke, onboard, words)


async def test_one_command_makes_a_tenant_that_is_ready_and_again_changes_nothing(
    control_plane: Any, customers: Any, api: Any, name: str
) -> None:
    await customers.plan(name)
    api.made[Reference("Subscription", name)] = api.made[Reference("Tenant", name)] = None
    asked = ("--plan", name, "--tenant", name, "--owner", "User:ann@example.com", "--paid-until", FAR)

    dry = await run(control_plane.kubeconfig, *asked, "--dry-run")
    assert (dry.exit_code, dry.output.count("would be made")) == (0, 2), dry.output
    assert await api.get("Tenant", name) is None

    done = await run(control_plane.kubeconfig, *asked, "--wait", "40", "--output", "json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout)
    assert said["made"] == ["Tenant", "Subscription"]
    assert said["tenant"]["phase"] == "Active"
    tenant = await api.get("Tenant", name)
    assert holds(tenant, "Ready")
    assert tenant["spec"]["owners"] == [{"kind": "User", "name": "ann@example.com"}]

    again = await run(control_plane.kubeconfig, "--plan", name, "--tenant", name, "--wait", "40")
    assert (again.exit_code, again.output.count("is there already")) == (0, 2), again.output
    assert (await api.get("Tenant", name))["metadata"]["generation"] == tenant["metadata"]["generation"]


async def test_what_makes_no_sense_is_said_before_anything_is_made(
    control_plane: Any, customers: Any, api: Any, name: str
) -> None:
    unknown = await run(control_plane.kubeconfig, "--plan", f"{name}-typo", "--tenant", name, "--output", "json")
    assert json.loads(unknown.stdout)["error"]["reason"] == "UnknownPlan"
    customer = await customers.onboard()
    await customers.plan(f"{name}-other")
    other = await run(control_plane.kubeconfig, "--plan", f"{name}-other", "--tenant", name, "--output", "json")
    assert json.loads(other.stdout)["error"]["reason"] == "AlreadyOnboarded"
    wrong = await run(control_plane.kubeconfig, "--plan", customer.plan, "--tenant", name, "--owner", "ann")
    assert wrong.exit_code == 2
