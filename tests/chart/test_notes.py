"""What helm prints after an install works when it is pasted into a shell."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart.helm import NAMESPACE, Helm
from tests.chart.server import create, read, remove
from tests.cluster.api import Api, accepted
from tests.cluster.waiting import until

RECORDER = """#!/usr/bin/env bash
# Writes down how it was called, and what it was given to apply.
call="$RECORD/$(printf '%03d' "$(ls "$RECORD" | wc -l)")"
printf '%s\\0' "$@" >"$call"
case " $* " in *" -f - "*) cat >"$call.yaml" ;; esac
"""


@pytest.fixture
def shell(tmp_path: Path) -> Path:
    """A folder whose ``kubectl`` records."""
    (tmp_path / "record").mkdir()
    (tmp_path / "kubectl").write_text(RECORDER)
    (tmp_path / "kubectl").chmod(0o755)
    return tmp_path


def pasted(notes: str, shell: Path) -> list[list[str]]:
    """Run every command of the notes; how kubectl was called by them."""
    blocks = [block for block in notes.split("\n\n") if block.startswith("kubectl ")]
    environment = {"PATH": f"{shell}:{os.environ['PATH']}", "RECORD": str(shell / "record")}
    script = "\n".join(blocks)
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    calls = sorted(path for path in (shell / "record").iterdir() if path.suffix != ".yaml")
    return [call.read_bytes().decode().split("\0")[:-1] for call in calls]


def notes_of(answer: str) -> str:
    return answer.partition("NOTES:\n")[2]


async def test_the_commands_of_the_notes_name_what_the_release_has(cluster: Helm, admin: Api, shell: Path) -> None:
    values = {"controlDatabase": {"existingSecret": "registry", "key": "dsn"}}
    calls = pasted(notes_of(cluster.install(values)), shell)
    verbs = [next(word for word in call if word in {"create", "rollout", "apply", "wait", "get"}) for call in calls]
    assert verbs == ["create", "rollout", "create", "apply", "wait", "get"]
    control, rollout, servers, _, _, _ = calls
    assert control[:6] == ["-n", NAMESPACE, "create", "secret", "generic", "registry"]
    assert control[6].startswith("--from-literal=dsn=postgresql://")
    assert await read(admin, "Deployment", rollout[-1].removeprefix("deployment/"), NAMESPACE) is not None
    (manifest,) = (shell / "record").glob("*.yaml")
    cell = yaml.safe_load(manifest.read_text())
    reference = cell["spec"]["servers"][0]["adminSecretRef"]
    assert servers[5] == reference["name"]
    assert servers[6].startswith(f"--from-literal={reference['key']}=")
    assert calls[4][-1] == f"cell/{cell['metadata']['name']}"

    async def taken() -> bool:
        query = {"fieldManager": "test", "dryRun": "All", "fieldValidation": "Strict"}
        path = f"/apis/paybill.dev/v1alpha1/cells/{cell['metadata']['name']}"
        status, answer = await admin.call("PATCH", path, cell, "application/apply-patch+yaml", **query)
        return status != 404 and bool(accepted(status, answer))

    await until(taken)


async def test_a_control_database_that_is_there_is_not_asked_for_again(cluster: Helm, admin: Api, shell: Path) -> None:
    cluster.install()
    metadata = {"name": "paybill-control-database", "namespace": NAMESPACE}
    await create(admin, {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": {"uri": "u"}})
    try:
        calls = pasted(notes_of(cluster.install()), shell)
    finally:
        await remove(admin, "Secret", "paybill-control-database", NAMESPACE)
    assert [call[2] for call in calls[:2]] == ["rollout", "create"]


def test_what_was_left_out_is_said(cluster: Helm) -> None:
    notes = notes_of(cluster.install({"crds": {"install": False}, "rbac": {"create": False},
                                    "admissionPolicies": {"enabled": False}}))  # fmt: skip
    assert "The kinds were not installed" in notes
    assert "The roles were not made" in notes
    assert "The admission policies were not made" in notes
