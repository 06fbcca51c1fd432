"""What the tests of the Pulumi engine run on: a state in a folder, and files as the resources of a cloud.

With the real CLI, which no package registry has: without it the tests say so and are skipped.
"""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from paybill.engines import runner
from paybill.engines.folder import Folder, list_left
from paybill.engines.operation import Line, Progress, Request
from paybill.engines.runner import Ended, Patience
from tests.engines.asked import request, stack_inputs

OWN = Path(__file__).with_name("own")
PASSPHRASE = "correct-horse-battery"
PATIENT = Patience()
DYNAMIC = "pulumi-resource-pulumi-python"


def _missing() -> str | None:
    found = shutil.which(os.environ.get("PAYBILL_PULUMI", "pulumi"))
    if found is None:
        return "the Pulumi CLI is neither on PATH nor named by PAYBILL_PULUMI"
    if not Path(found).resolve().with_name(DYNAMIC).exists():
        return f"beside {found} there is no {DYNAMIC}, which dynamic resources need"
    return None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs the CLI, with the reason."""
    if (missing := _missing()) is not None:
        for item in items:
            if item.get_closest_marker("pulumi") is not None:
                item.add_marker(pytest.mark.skip(reason=missing))


@dataclass
class Site:
    """One state and one cloud; each operation on it is a worker of its own."""

    root: Path
    count: int = 0
    seen: list[Line] = field(default_factory=list)

    @property
    def cloud(self) -> Path:
        """The folder whose files are the resources."""
        return self.root / "cloud"

    @property
    def state(self) -> Path:
        """The state's folder."""
        return self.root / "state"

    @property
    def made(self) -> dict[str, str]:
        """What exists in the cloud, with its content."""
        return {one.name: one.read_text() for one in sorted(self.cloud.iterdir()) if one.suffix != ".seen"}

    def request(self, kind: str, *, inputs: dict[str, Any] | None = None, **changes: Any) -> Request:
        """A request for the program of one's own, whose ``foundation`` says what it does."""
        self.count += 1
        foundation = {"cloud": str(self.cloud)} | changes.pop("foundation", {})
        given = stack_inputs(**{"provider": "Kubernetes", "foundation": foundation} | (inputs or {}))
        defaults: dict[str, Any] = {
            "kind": kind,
            "engine": "Pulumi",
            "inputs": given,
            "path": str(OWN),
            "state_url": f"file://{self.state}",
            "credentials": {"PULUMI_CONFIG_PASSPHRASE": PASSPHRASE},
        }
        return request(self.root / "operations" / f"{self.count}-{kind}", **defaults | changes)

    def start(self, asked: Request, *, patience: Patience = PATIENT) -> asyncio.Task[Ended]:
        """Start a worker; what it tells is kept in ``seen``."""
        return asyncio.create_task(runner.run(asked, on_line=self.seen.append, patience=patience))

    async def do(self, kind: str, **changes: Any) -> Ended:
        """Carry out one operation; its folder is gone afterwards."""
        ended = await self.start(self.request(kind, **changes))
        self.log = (ended.work_dir / "log").read_text()
        ended.remove()
        return ended

    async def told(self, phase: str, action: str = "") -> Progress:
        """Wait until an operation tells of something."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for line in self.seen:
                if isinstance(line, Progress) and (line.phase, line.action) == (phase, action):
                    return line
            await asyncio.sleep(0.05)
        raise TimeoutError(f"{phase} {action}")

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something holds."""
        deadline = time.monotonic() + 60
        while not condition():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.02)


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A state without a stack, and an empty cloud."""
    place = Site(tmp_path)
    for folder in (place.cloud, place.state, tmp_path / "operations"):
        folder.mkdir()
    yield place
    for folder, _ in list_left(tmp_path / "operations"):
        Folder(folder.path).kill("Cancelled")
