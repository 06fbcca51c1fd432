"""A program of one's own is known by what is in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from paybill.api.failures import Blocked
from paybill.engines import own_program
from paybill.engines.own_program import fingerprint


@pytest.fixture
def module(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / "main.tf").write_text("resource {}")
    (tmp_path / "sub" / "more.tf").write_text("more")
    return tmp_path


def test_the_same_files_are_the_same_program_wherever_they_are_touched_again(module: Path) -> None:
    before = fingerprint(str(module))
    os.utime(module / "main.tf", (1, 1))
    assert fingerprint(str(module)) == before


@pytest.mark.parametrize(
    ("change", "another"),
    [
        pytest.param(lambda root: (root / "main.tf").write_text("resource []"), True, id="an edited file"),
        pytest.param(lambda root: (root / "new.tf").write_text(""), True, id="a new file"),
        pytest.param(lambda root: (root / "main.tf").rename(root / "other.tf"), True, id="another name"),
        pytest.param(lambda root: (root / "sub" / "more.tf").unlink(), True, id="a file that is gone"),
        pytest.param(lambda root: (root / ".terraform").mkdir(), False, id="what the tool leaves"),
    ],
)
def test_what_makes_another_program(module: Path, change: object, another: bool) -> None:
    before = fingerprint(str(module))
    change(module)  # type: ignore[operator]
    assert (fingerprint(str(module)) != before) is another


def test_files_are_read_only_when_they_are_others(module: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint(str(module))
    monkeypatch.setattr(own_program, "_hash", lambda *_: pytest.fail("read again"))
    fingerprint(str(module))


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(Blocked, match=r"there is no folder .*/nowhere") as failure:
        fingerprint(str(tmp_path / "nowhere"))
    assert failure.value.reason == "ProgramMissing"
