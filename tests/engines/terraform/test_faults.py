"""What goes wrong around the program: it is absent, old or hangs; its plugins, its state or its module are wrong."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from paybill.engines.operation import Exit
from paybill.engines.terraform.binary import PROGRAM
from tests.engines.terraform.conftest import Bench, inputs


def test_without_a_program_people_are_told_what_to_install(bench: Bench, tmp_path: Path):
    bench.environment = {"PATH": str(tmp_path)}

    error = bench.fail("preview")

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "CliMissing")
    assert "OpenTofu" in error.failed.message


def test_a_program_that_is_named_and_is_none_is_said_so(bench: Bench):
    bench.environment = bench.environment | {PROGRAM: "/nowhere/terraform"}

    error = bench.fail("preview")

    assert error.failed.reason == "CliMissing"
    assert "/nowhere/terraform" in error.failed.message


def test_a_program_that_is_too_old_is_refused(bench: Bench, stub):
    bench.environment = bench.environment | {PROGRAM: stub("1.5.7", "exit 0")}

    error = bench.fail("preview")

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "CliTooOld")
    assert "1.5.7" in error.failed.message


def test_a_program_that_cannot_lock_on_s3_is_refused_there(bench: Bench, stub):
    bench.environment = bench.environment | {PROGRAM: stub("1.9.8", "exit 0")}
    bench.state_url = "s3://states/tenants"

    assert bench.fail("preview").failed.reason == "CliTooOld"


def test_a_program_that_hangs_is_killed_with_all_that_it_started(bench: Bench, stub, tmp_path: Path):
    pids = tmp_path / "pids"
    hang = f"trap '' INT\nsleep 300 &\necho $$ $! > {pids}\nwait; wait; wait; wait; while :; do sleep 300; done"
    bench.environment = bench.environment | {PROGRAM: stub("1.11.0", hang)}

    error = bench.fail("preview", deadline_seconds=1.0)

    assert (error.exit_code, error.failed.reason) == (Exit.TRANSIENT, "DeadlineExceeded")
    for pid in map(int, pids.read_text().split()):
        with pytest.raises(ProcessLookupError):
            _until_gone(pid)


def test_a_program_that_ends_when_asked_is_not_killed(bench: Bench, stub, tmp_path: Path):
    said = tmp_path / "said"
    orderly = f"trap 'echo stopped > {said}; exit 1' INT\nwhile :; do sleep 0.1; done"
    bench.environment = bench.environment | {PROGRAM: stub("1.11.0", orderly)}

    assert bench.fail("preview", deadline_seconds=0.5).failed.reason == "DeadlineExceeded"
    assert said.read_text() == "stopped\n"


def test_an_apply_that_is_interrupted_says_what_is_done_and_what_nobody_knows(bench: Bench):
    _add(bench, _slow(30))

    error = bench.fail("up", deadline_seconds=6.0)

    assert error.failed.reason == "DeadlineExceeded"
    assert error.result is not None
    assert "module.stack.terraform_data.store" in {change.address for change in error.result.changes}
    assert "module.stack.terraform_data.slow" not in {change.address for change in error.result.changes}


def test_a_signal_to_the_worker_is_waited_out_not_passed_on(bench: Bench, stub, tmp_path: Path):
    said = tmp_path / "said"
    orderly = f"trap 'echo again >> {said}' INT\nsleep 1\nexit 1"
    bench.environment = bench.environment | {PROGRAM: stub("1.11.0", orderly)}
    timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))  # of the worker alone, not of its group
    timer.start()

    error = bench.fail("preview")

    assert (error.exit_code, error.failed.reason) == (Exit.TRANSIENT, "Interrupted")
    assert not said.exists()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param("{ not json", id="no JSON"),
        pytest.param('{"version": 4, "serial": 1, "lineage": "x", "resou', id="cut off"),
        pytest.param('{"version": 99}', id="of a later format"),
    ],
)
def test_a_state_that_cannot_be_read_is_corrupt_and_is_left_alone(bench: Bench, content: str):
    bench.run("up")
    state = next(bench.root.glob("states/**/*.tfstate"))
    state.write_text(content)

    error = bench.fail("up")

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "StateCorrupt")
    assert state.read_text() == content


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        (None, "StateMissing"),
        ("azblob://container", "StateUnsupported"),
        ("s3:///prefix", "StateUnsupported"),
        ("s3://states/prefix?acl=public", "StateUnsupported"),
        ("file:///proc/nowhere", "StateUnreachable"),
    ],
)
def test_a_state_url_that_cannot_be_used_is_refused(bench: Bench, url: str | None, reason: str):
    error = bench.fail("preview", state_url=url)

    assert (error.exit_code, error.failed.reason) == (Exit.USER, reason)


def test_a_module_without_what_a_tenant_needs_is_refused_before_anything_is_made(bench: Bench):
    Path(bench.path, "main.tf").write_text('resource "terraform_data" "only" {}\n')

    error = bench.fail("up")

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "OutputsMissing")
    assert "database" in error.failed.message
    assert bench.run("up", inputs(level="Database")).outputs.database is None  # nothing is needed of that one


def test_an_output_that_is_empty_is_missing_too_and_what_was_made_is_told(bench: Bench):
    _replace(bench, "value     = { host", "value     = false ? null : null # { host")

    error = bench.fail("up")

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "OutputsMissing")
    assert error.result is not None
    assert error.result.counts["create"] == 3


def test_outputs_of_another_shape_are_named_without_their_values(bench: Bench):
    _replace(bench, "hunter-hunter-2", 'hunter-hunter-2", port = "so-secret", other = "x')

    error = bench.fail("up")

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "OutputsInvalid")
    assert "database.port" in error.failed.message
    assert "so-secret" not in error.failed.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ('resource "terraform_data" "x" {\n  nonsense = 1\n}\n', "ModuleInvalid"),
        ('resource "terraform_data" "x" {\n  input = var.absent\n}\n', "ModuleInvalid"),
        ('resource "terraform_data" "x" {\n', "ModuleInvalid"),
        ('variable "wanted" { type = string }\n', "ModuleInvalid"),
    ],
)
def test_a_module_that_is_wrong_is_for_people(bench: Bench, content: str, reason: str):
    _add(bench, content)

    error = bench.fail("preview")

    assert (error.exit_code, error.failed.reason) == (Exit.USER, reason), error.failed.message


def test_a_plugin_that_is_nowhere_is_for_people(bench: Bench, tmp_path: Path):
    config = tmp_path / "empty.tfrc"
    (tmp_path / "empty").mkdir()
    config.write_text(f'provider_installation {{\n  filesystem_mirror {{\n    path = "{tmp_path}/empty"\n  }}\n}}\n')
    bench.environment = bench.environment | {"TF_CLI_CONFIG_FILE": str(config)}
    _add(bench, 'terraform {\n  required_providers {\n    ibm = { source = "IBM-Cloud/ibm" }\n  }\n}\n')

    error = bench.fail("preview")

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "PluginMissing")
    assert "ibm" in error.failed.message.lower()


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/proc"])
def test_a_module_path_that_is_no_module_is_refused(bench: Bench, path: str):
    assert bench.fail("preview", path=path).failed.reason == "ModuleInvalid"


def test_a_cloud_without_a_module_is_said_so(bench: Bench):
    bench.path = None

    error = bench.fail("preview", inputs(provider="GCP"))

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "ModuleMissing")
    assert "AWS and IBM" in error.failed.message


@pytest.mark.parametrize("name", ["PATH", "LD_PRELOAD", "TF_LOG", "TF_CLI_ARGS_apply"])
def test_credentials_cannot_change_what_is_run(bench: Bench, name: str):
    error = bench.fail("preview", credentials={name: "x"})

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "CredentialsRefused")
    assert name in error.failed.message


def test_ambient_logins_are_not_passed_on(bench: Bench, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "of-the-operator")
    bench.environment = bench.environment | {"AWS_SECRET_ACCESS_KEY": "of-the-operator"}
    seen = bench.root / "seen"
    command = f"echo $${{AWS_SECRET_ACCESS_KEY:-none}} $AWS_EC2_METADATA_DISABLED > {seen}"
    block = f'  provisioner "local-exec" {{\n    command = "{command}"\n  }}\n'
    _add(bench, f'resource "terraform_data" "env" {{\n{block}}}\n')

    bench.run("up")

    assert seen.read_text() == "none true\n"


def _add(bench: Bench, content: str) -> None:
    main = Path(bench.path, "main.tf")
    main.write_text(main.read_text() + content)


def _replace(bench: Bench, old: str, new: str) -> None:
    main = Path(bench.path, "main.tf")
    assert old in main.read_text()
    main.write_text(main.read_text().replace(old, new))


def _slow(seconds: int) -> str:
    return f"""
    resource "terraform_data" "slow" {{
      input = terraform_data.pod.id
      provisioner "local-exec" {{ command = "sleep {seconds}" }}
    }}
    """


def _until_gone(pid: int) -> None:
    """Raise ProcessLookupError as soon as the process is gone, also when nobody has collected it yet."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        os.kill(pid, 0)
        if " Z " in Path(f"/proc/{pid}/stat").read_text():
            raise ProcessLookupError(pid)
        time.sleep(0.05)
