"""The worker: one request in, JSON lines out, an exit code, and never a secret where people read."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from paybill.engines.folder import Folder, Patience
from paybill.engines.operation import Exit
from paybill.engines.redaction import HIDDEN, Redactor
from tests.engines.asked import STAND_IN, request
from tests.engines.stand_in import MADE

SECRET = 's3cr3t "quoted" pass\nword of two lines'


def work(
    folder: Path, behaviour: str, command: tuple[str, ...] = STAND_IN, **changes: Any
) -> tuple[int, list[dict[str, Any]], str]:
    """Exit code, answers and what was printed of a worker that is run here and now."""
    folder.mkdir(exist_ok=True)
    asked = request(folder, behaviour, **changes).model_dump_json()
    return _run(asked, command)


def _run(text: str, command: tuple[str, ...] = STAND_IN) -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run(
        command,
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": "operator:."},
    )
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_answers_are_lines_of_json_and_the_last_is_the_result(tmp_path: Path) -> None:
    code, answers, _ = work(tmp_path, "good", credentials={"PASSWORD": "handed-over"})
    assert code == Exit.OK
    assert [one["type"] for one in answers] == ["progress", "result"]
    assert answers[-1]["changes"][0]["address"] == "urn:a"
    # To hand secrets over is what outputs are for.
    assert answers[-1]["outputs"]["database"]["admin_password"] == "handed-over"


@pytest.mark.parametrize(
    ("kind", "behaviour", "expected"),
    [
        ("preview", "good", Exit.CHANGES),
        ("preview", "nothing", Exit.OK),
        ("drift", "good", Exit.DRIFT),
        ("drift", "nothing", Exit.OK),
        ("refresh", "good", Exit.OK),
        ("destroy", "good", Exit.OK),
        ("outputs", "nothing", Exit.OK),
        ("recover", "nothing", Exit.OK),
    ],
)
def test_exit_code_says_what_was_found(tmp_path: Path, kind: str, behaviour: str, expected: Exit) -> None:
    assert work(tmp_path, behaviour, kind=kind)[0] == expected


def test_what_a_program_prints_neither_breaks_the_answers_nor_shows_a_secret(tmp_path: Path) -> None:
    code, answers, printed = work(tmp_path, "chatty", credentials={"PASSWORD": SECRET, "AWS_REGION": "eu-west-1"})
    assert code == Exit.USER
    text = json.dumps(answers) + printed
    for part in (SECRET, *SECRET.splitlines(), json.dumps(SECRET)[1:-1], MADE):
        assert part not in text
    for stream in ("said", "told", "erred"):
        assert f"{stream} {HIDDEN}" in printed
    assert HIDDEN in answers[-1]["message"]
    # What is no secret stays readable.
    assert "eu-west-1-resource" in text


@pytest.mark.parametrize(
    ("error", "expected", "reason"),
    [
        ("RuntimeError", Exit.USER, "WorkerError"),
        ("OSError", Exit.TRANSIENT, "WorkerError"),
        ("ModuleNotFoundError", Exit.USER, "EngineMissing"),
    ],
)
def test_unforeseen_error_is_told_by_its_type_only(tmp_path: Path, error: str, expected: Exit, reason: str) -> None:
    code, answers, printed = work(tmp_path, f"raising={error}", credentials={"PASSWORD": "hunter2hunter2"})
    assert (code, answers[-1]["reason"]) == (expected, reason)
    assert "hunter2" not in json.dumps(answers) + printed


def test_a_program_that_calls_exit_does_not_end_the_worker_without_a_word(tmp_path: Path) -> None:
    code, answers, _ = work(tmp_path, "leaving")
    assert (code, answers[-1]["reason"]) == (Exit.USER, "WorkerError")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"id": "x", "credentials": {"PASSWORD": ["hunter2hunter2"]}}'])
def test_malformed_request_is_refused_without_quoting_it(text: str) -> None:
    code, answers, printed = _run(text)
    assert (code, answers[-1]["reason"]) == (Exit.USER, "RequestInvalid")
    assert "hunter2" not in json.dumps(answers) + printed


def test_engine_that_is_not_installed_is_named(tmp_path: Path) -> None:
    code, answers, _ = work(tmp_path, "good", command=(*STAND_IN, "missing"))
    assert (code, answers[-1]["reason"]) == (Exit.USER, "EngineMissing")


def test_children_read_neither_the_request_nor_the_answers(tmp_path: Path) -> None:
    _, answers, _ = work(tmp_path, "environment", credentials={"PASSWORD": "hunter2hunter2"})
    assert next(one for one in answers if one["phase"] == "input")["resource"] == ""


def test_what_is_printed_is_bounded(tmp_path: Path) -> None:
    code, answers, printed = work(tmp_path, "flooding=64")
    assert (code, len(answers)) == (Exit.OK, 1)
    assert len(printed) < 64 * 1024


def test_exit_code_is_written_down_only_in_a_folder_of_a_runner(tmp_path: Path) -> None:
    own, runners = Folder(tmp_path / "own"), Folder(tmp_path / "runners")
    runners.create(request(runners.path), Patience(), now=0.0)
    work(own.path, "nothing")
    work(runners.path, "nothing", kind="preview")
    assert own.exit_code() is None
    assert runners.exit_code() == Exit.OK


def test_stop_that_came_before_the_start_is_obeyed(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    folder.create(request(tmp_path), Patience(), now=0.0)
    folder.begin_stop("Cancelled")
    code, answers, _ = work(tmp_path, "good")
    assert (code, answers[-1]["reason"]) == (Exit.TRANSIENT, "Interrupted")


def test_a_secret_is_found_however_it_is_written() -> None:
    redactor = Redactor()
    account = json.dumps({"type": "service_account", "private_key": "-----BEGIN-----\nMIIEvQIBADANBg\n-----END-----\n"})
    redactor.learn("p@ss/word&x", account, "abc")
    for text in ("p@ss/word&x", "postgres://u:p%40ss%2Fword%26x@h", account, "a line MIIEvQIBADANBg of the key"):
        assert HIDDEN in redactor.text(text)
        assert not any(part in redactor.text(text) for part in ("p@ss", "p%40ss", "MIIEvQ"))
    assert redactor.text("service_account abc") == "service_account abc"


def test_a_secret_that_begins_with_another_is_hidden_whole() -> None:
    redactor = Redactor()
    redactor.learn("password", "password-and-more")
    assert redactor.text("x password-and-more y") == f"x {HIDDEN} y"
