"""Where helm comes from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paybill.api.failures import Blocked
from tests.chart.helm import MODULE, VERSION, Helm, provide


def put(folder: Path, name: str, script: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """A machine with nothing on its PATH, an empty cache and no package index."""
    nothing = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    return {"PATH": str(tmp_path / "bin"), "PAYBILL_CACHE": str(tmp_path / "cache"), **nothing}


def test_it_is_the_version_that_the_module_pins(helm: Helm) -> None:
    module = (MODULE / "go.mod").read_text()
    assert re.search(r"^\s*helm\.sh/helm/v3 (v\S+)", module, re.MULTILINE)[1] == VERSION  # type: ignore[index]
    assert helm.run("version", "--short").startswith("v3.")


async def test_the_one_on_the_path_is_used(environ: dict[str, str], tmp_path: Path) -> None:
    program = put(tmp_path / "bin", "helm", "echo v3.19.0+gabc")
    assert await provide(lambda _: None, environ) == program


@pytest.mark.parametrize("version", ["v3.9.4+gdbc6d8e", "v4.0.0+gabc", "nonsense"])
async def test_another_one_is_not_but_the_one_in_the_cache(
    environ: dict[str, str], tmp_path: Path, version: str
) -> None:
    put(tmp_path / "bin", "helm", f"echo {version}")
    kept = put(tmp_path / "cache" / "helm" / VERSION, "helm", "echo kept")
    assert await provide(lambda _: None, environ) == kept


async def test_without_any_way_to_one_the_message_says_what_was_tried(environ: dict[str, str]) -> None:
    with pytest.raises(Blocked, match="there is no Go"):
        await provide(lambda _: None, environ)
