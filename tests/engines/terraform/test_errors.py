"""What a failure's text means. The texts are as terraform and the providers print them, shortened."""

import json
from pathlib import Path

import pytest

from paybill.engines.operation import Exit
from paybill.engines.terraform.errors import classify, failure, lock_in

LOCKED = """
╷
│ Error: Error acquiring the state lock
│
│ Error message: operation error S3: PutObject, https response error
│ StatusCode: 412, RequestID: 1, HostID: , api error PreconditionFailed: At
│ least one of the pre-conditions you specified did not hold
│ Lock Info:
│   ID:        8e1f0ac3-5ab4-9c3f-6ad3-3bd3d3ee9a2d
│   Path:      states/tenants/a.tfstate
│   Operation: OperationTypeApply
│   Who:       paybill@worker-7
│   Version:   1.11.4
│   Created:   2026-01-02 03:04:05.678 +0000 UTC
│   Info:
│
│ Terraform acquires a state lock to protect the state from being written
│ by multiple users at the same time.
╵
"""

RECORDED = json.loads((Path(__file__).parent / "recorded_errors.json").read_text())


@pytest.mark.parametrize("one", RECORDED, ids=[f"{one['reason']}: {one['text'].strip()[:40]}" for one in RECORDED])
def test_a_text_has_a_meaning(one: dict[str, str]):
    kind = classify(one["text"])

    assert (kind.exit_code, kind.reason) == (Exit[one["exit"]], one["reason"])


def test_a_text_that_is_wrapped_to_a_terminal_has_the_same_meaning():
    wrapped = '╷\n│ Error: Failed to get existing\n│ workspaces: S3 bucket\n│ "b" does not exist.\n╵'

    assert classify(wrapped).reason == "StateUnreachable"
    assert classify(wrapped).exit_code is Exit.USER


def test_a_lock_says_who_holds_it_since_when():
    lock = lock_in(LOCKED)

    assert lock is not None
    assert (lock.id, lock.who) == ("8e1f0ac3-5ab4-9c3f-6ad3-3bd3d3ee9a2d", "paybill@worker-7")
    assert lock.created.startswith("2026-01-02")
    error = failure("planning stack x", LOCKED)
    assert error.failed.holder == "paybill@worker-7"
    assert "since 2026-01-02" in error.failed.message


def test_a_message_says_what_failed_why_and_what_to_do_and_is_not_endless():
    error = failure("planning stack x", "Error: " + "word " * 1000)

    assert error.failed.message.startswith("planning stack x failed: Error: word")
    assert error.failed.message.endswith("see the operation's log")
    assert len(error.failed.message) < 1600
