"""What a fresh clone relies on before any code of ours runs: the lock, the Makefile, what CI calls."""

import os
import re
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[3]
LOCK = (ROOT / "requirements.lock").read_text(encoding="utf-8")


def canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def test_the_lock_names_no_index_and_no_host():
    assert "://" not in LOCK
    assert not re.search(r"^\s*--(index|extra-index|find-links|trusted-host)", LOCK, re.MULTILINE)


def test_everything_in_the_lock_is_pinned_with_a_hash():
    entries = re.split(r"\n(?=[a-zA-Z])", LOCK.strip())
    assert len(entries) > 30
    assert [
        entry.split()[0] for entry in entries if not re.match(r"\S+==\S+", entry) or "--hash=sha256:" not in entry
    ] == []


def test_the_lock_holds_every_dependency_of_the_project_and_its_local_and_dev_extras():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["local"], *extras["dev"]]
    locked = {canonical(match) for match in re.findall(r"^([A-Za-z0-9._-]+)==", LOCK, re.MULTILINE)}
    assert {canonical(re.match(r"[A-Za-z0-9._-]+", each)[0]) for each in wanted} <= locked


def test_make_help_lists_what_the_readme_names():
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    named = set(re.findall(r"make ([a-z-]+)", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {"demo", "test", "down", "help"} <= named
    assert named <= set(re.findall(r"make ([a-z-]+)", told))


def test_ci_calls_the_readmes_test_command():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    text = script.read_text(encoding="utf-8")
    assert 'for tier in "${@:-test}"; do' in text, "make test unless it is told another one"
    assert re.search(r'^ +make "\$tier" ', text, re.MULTILINE)
