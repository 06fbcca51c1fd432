"""One real control plane with a real Postgres for the whole test run, started by the first test that asks for it.

The kernel stops its programs when the thread that forked them ends (see paybill.local.process), so the instance lives
in a thread of its own for as long as the run lasts, whatever the tests do with their event loops.
"""

import asyncio
import contextlib
import shutil
import sys
import tempfile
import threading
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import Any, Self

import pytest
from hypothesis import HealthCheck, settings

from paybill.local.binaries import provide
from paybill.local.home import Home
from paybill.local.instance import Instance, Progress, silent

# How long an example takes says something of the machine, and nothing of what is tested.
settings.register_profile("paybill", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("paybill")


class LocalThread:
    """An instance in an event loop of its own: what a test needs of it, without async."""

    def __init__(self, instance: Instance, progress: Progress = silent) -> None:
        self.instance = instance
        self._progress = progress
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="control plane", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        try:
            self.call(provide(self._progress), timeout=None)  # a build, where it is needed, takes minutes
            self.call(self.instance.start())
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.call(self.instance.stop())
        finally:
            self._end()

    def call(self, work: Coroutine[Any, Any, Any], *, timeout: float | None = 120.0) -> Any:
        """Run ``work`` in the instance's loop (for ``supervise`` and the like) and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout)

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.instance.kubeconfig

    @property
    def api_url(self) -> str:
        """Where the API server listens."""
        return self.instance.api_url

    @property
    def postgres_dsn(self) -> str:
        """The Postgres superuser's connection string."""
        return self.instance.postgres_dsn

    @property
    def audit_log(self) -> Path:
        """One JSON line per finished API request, written before its answer was sent."""
        assert self.instance.audit_log is not None
        return self.instance.audit_log

    def kubeconfig_for(self, user: str, *groups: str) -> Path:
        """A login by certificate for a user who is not an administrator."""
        return self.instance.kubeconfig_for(user, groups)

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


@pytest.fixture(scope="session")
def short_folder() -> Iterator[Path]:
    """A folder with a short path that another account may pass through (Postgres, when the tests run as root)."""
    folder = Path(tempfile.mkdtemp(prefix="paybill-"))
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def control_plane(short_folder: Path, request: pytest.FixtureRequest) -> Iterator[LocalThread]:
    """The control plane and Postgres that all tests share; each test brings its own namespaces and databases."""
    capture = request.config.pluginmanager.getplugin("capturemanager")

    def progress(line: str) -> None:
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            sys.stderr.write(f"\n{line}")

    instance = Instance(Home(short_folder / "tests"), audit_log=short_folder / "audit.log", fsync=False)
    with LocalThread(instance, progress) as running:
        yield running
