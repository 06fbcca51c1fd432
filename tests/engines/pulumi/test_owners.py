"""Whether the holder of a lock is proven gone."""

import datetime as dt
import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

from paybill.engines.pulumi.owners import Owner, listed, owners
from tests.engines.asked import request

HERE = socket.gethostname()
NOW = dt.datetime.now(dt.UTC)
TEXT = """error: the stack is currently locked by 2 lock(s). Either wait for the other process(es) to end or delete \
the lock file with `pulumi cancel`.
  file:///state/.pulumi/locks/organization/p/s/6f.json: created by root@pod-7c9 (pid 41) at 2026-01-02T03:04:05Z
  file:///state/.pulumi/locks/organization/p/s/7f.json: created by me@corp@vm (pid 7) at 2026-01-02T03:04:05+02:00"""


def ended() -> int:
    with subprocess.Popen(["true"]) as process:
        return process.pid


def test_all_holders_are_read_from_the_error() -> None:
    assert [str(one) for one in owners(TEXT)] == ["pod-7c9:41", "vm:7"]
    assert owners("error: [409] Conflict: Another update is currently in progress.") == ()


@pytest.mark.parametrize(
    ("owner", "gone"),
    [
        pytest.param(Owner(host=HERE, pid=os.getpid(), at=NOW), False, id="it runs here"),
        pytest.param(Owner(host=HERE, pid=ended(), at=NOW), True, id="it ended here"),
        pytest.param(
            Owner(host=HERE, pid=os.getpid(), at=NOW - dt.timedelta(days=400)), True, id="its id is another's"
        ),
        pytest.param(Owner(host="elsewhere", pid=ended(), at=NOW), False, id="another host cannot be looked at"),
        pytest.param(Owner(host="", pid=ended(), at=NOW), False, id="a host without a name"),
    ],
)
def test_only_what_is_proven_gone_is_gone(owner: Owner, gone: bool) -> None:
    assert owner.gone is gone


def test_locks_in_a_folder_are_read_and_broken_ones_left_out(tmp_path: Path) -> None:
    asked = request(tmp_path, state_url=f"file://{tmp_path}/with%20space")
    folder = tmp_path / "with space/.pulumi/locks/organization" / asked.inputs.project / asked.inputs.stack
    folder.mkdir(parents=True)
    content = {"pid": 5, "username": "me", "hostname": "h", "timestamp": "2026-01-02T03:04:05.123456789+01:00"}
    (folder / "a.json").write_text(json.dumps(content))
    (folder / "b.json").write_text("")
    assert [str(one) for one in listed(asked)] == ["h:5"]
    assert listed(request(tmp_path, state_url="s3://bucket")) == ()
