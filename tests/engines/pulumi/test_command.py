"""Finding the CLI and calling it, with programs that stand in for one that hangs, is old, or is none."""

import os
from pathlib import Path

import pytest

from paybill.engines import runner
from paybill.engines.operation import Exit
from paybill.engines.port import EngineError
from paybill.engines.pulumi import command
from paybill.engines.pulumi.command import Command, find
from tests.engines.asked import request


def script(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return str(path)


def test_cli_that_is_missing_is_named_with_what_to_do(tmp_path: Path) -> None:
    for ours in ({"PATH": str(tmp_path)}, {"PATH": str(tmp_path), "PAYBILL_PULUMI": "/no/such/pulumi"}):
        with pytest.raises(EngineError, match=r"CliMissing.*install") as raised:
            find(ours)
        assert raised.value.exit_code == Exit.USER


def test_named_cli_goes_before_the_one_on_the_path(tmp_path: Path) -> None:
    on_path, named = script(tmp_path / "pulumi", ""), script(tmp_path / "other", "")
    assert find({"PATH": str(tmp_path)}) == on_path
    assert find({"PATH": str(tmp_path), "PAYBILL_PULUMI": named}) == named


async def test_operation_without_the_cli_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAYBILL_PULUMI", "/no/such/pulumi")
    asked = request(
        tmp_path / "a",
        path=str(Path(__file__).with_name("own")),
        engine="Pulumi",
        state_url=f"file://{tmp_path}",
        credentials={"PULUMI_CONFIG_PASSPHRASE": "hunter2hunter2"},
    )
    ended = await runner.run(asked)
    assert ended.failed is not None
    assert (ended.exit, ended.failed.reason, ended.recovery_needed) == (Exit.USER, "CliMissing", False)
    ended.remove()


@pytest.mark.parametrize(
    ("says", "reason"),
    [("echo v3.100.0", "CliTooOld"), ("echo hello", "CliMissing"), ("exit 1", "CliMissing")],
)
def test_what_is_no_or_an_old_cli_is_refused(tmp_path: Path, says: str, reason: str) -> None:
    with pytest.raises(EngineError, match=reason):
        Command(script(tmp_path / "pulumi", says), scratch=tmp_path)


def test_cli_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "SHORT_SECONDS", 0.3)
    with pytest.raises(EngineError, match=r"StateUnreachable.*version"):
        Command(script(tmp_path / "pulumi", "exec sleep 60"), scratch=tmp_path)


def test_output_is_read_back_and_leaves_no_file(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    called = Command(
        script(tmp_path / "pulumi", '[ "$1" = version ] && echo v3.272.0 || { echo out; echo "$CANARY$X" >&2; }'),
        scratch=scratch,
    )
    result = called.run(["stack"], str(tmp_path), {"X": "x"})
    assert (result.stdout, result.stderr, result.code) == ("out\n", f"{os.environ.get('CANARY', '')}x\n", 0)
    assert list(scratch.iterdir()) == []
