"""The Pulumi engine with the real CLI: what each operation does, refuses, and leaves."""

import json
from pathlib import Path
from typing import Any

import pytest

from paybill.engines.operation import Exit
from paybill.engines.runner import Ended, Patience
from tests.engines.pulumi.conftest import PASSPHRASE, Site

pytestmark = pytest.mark.pulumi


def two(**more: str) -> dict[str, Any]:
    """A stack of two files."""
    return {"foundation": {"make": "a b"} | more}


def reason(ended: Ended) -> tuple[Exit, str | None]:
    return ended.exit, ended.failed.reason if ended.failed else None


def actions(ended: Ended) -> set[tuple[str, str]]:
    """What was done to files, by name."""
    assert ended.result is not None
    changes = [one for one in ended.result.changes if not one.type.startswith("pulumi:providers:")]
    return {(one.action, one.address.rpartition("::")[2]) for one in changes}


async def test_preview_of_a_stack_that_is_not_there_changes_nothing(site: Site) -> None:
    ended = await site.do("preview", **two())
    assert reason(ended) == (Exit.CHANGES, None)
    assert actions(ended) == {("create", "a"), ("create", "b")}
    assert site.made == {}
    # The CLI marks the format of any state that it opens, and nothing else is there.
    assert {path.name for path in site.state.rglob("*") if path.is_file()} <= {"meta.yaml", "meta.yaml.attrs"}


@pytest.mark.parametrize("kind", ["outputs", "drift", "refresh", "destroy", "recover"])
async def test_what_needs_a_stack_finds_nothing_where_there_is_none(site: Site, kind: str) -> None:
    ended = await site.do(kind, **two())
    assert reason(ended) == (Exit.OK, None)
    assert not any(path.is_file() for path in site.state.rglob("abcd2345*"))


async def test_up_makes_what_the_preview_said_and_then_has_nothing_to_do(site: Site) -> None:
    looked = await site.do("preview", **two())
    assert looked.result is not None
    done = await site.do("up", **two(), expected=looked.result.digest)
    assert reason(done) == (Exit.OK, None)
    assert actions(done) == {("create", "a"), ("create", "b")}
    assert site.made == {"a": "a", "b": "a"}
    assert done.result is not None
    assert done.result.outputs is not None
    assert (done.result.outputs.bucket, done.result.outputs.prefix) == ("a", "abcd2345")

    again = await site.do("up", **two())
    assert again.result is not None
    assert (again.exit, again.result.changes) == (Exit.OK, ())
    assert again.result.counts["same"] == 4
    told = await site.do("outputs", **two())
    assert told.result is not None
    assert told.result.outputs == done.result.outputs


async def test_update_and_replacement_are_told_apart_with_the_fields_that_differ(site: Site) -> None:
    await site.do("up", **two())
    assert actions(await site.do("preview", **two(content="x"))) == {("update", "a"), ("update", "b")}
    replaced = await site.do("preview", **two(replaced_by="new"))
    assert actions(replaced) == {("replace", "a"), ("replace", "b")}
    assert replaced.result is not None
    assert {one.fields for one in replaced.result.changes} == {("replaced_by",)}


async def test_approval_is_void_when_the_spec_or_the_state_changed(site: Site) -> None:
    await site.do("up", **two())
    looked = await site.do("preview", **two(content="x"))
    assert looked.result is not None
    other = await site.do("up", **two(content="y"), expected=looked.result.digest)
    assert reason(other) == (Exit.POLICY, "ChangedSinceApproval")
    (site.cloud / "b").write_text("changed by somebody")
    assert (await site.do("refresh", **two())).exit == Exit.OK
    later = await site.do("up", **two(content="x"), expected=looked.result.digest)
    assert reason(later) == (Exit.POLICY, "ChangedSinceApproval")
    assert later.result is not None
    done = await site.do("up", **two(content="x"), expected=later.result.digest)
    assert done.exit == Exit.OK
    assert site.made == {"a": "x", "b": "x"}


async def test_looking_twice_gives_one_digest(site: Site) -> None:
    await site.do("up", **two())
    first, second = [await site.do("preview", **two(content="x")) for _ in range(2)]
    assert first.result is not None
    assert second.result is not None
    assert first.result.digest == second.result.digest


async def test_drift_is_seen_without_touching_anything(site: Site) -> None:
    await site.do("up", **two())
    assert (await site.do("drift", **two())).exit == Exit.OK
    (site.cloud / "a").unlink()
    (site.cloud / "b").write_text("changed")
    before = contents(site.state)
    ended = await site.do("drift", **two())
    assert ended.exit == Exit.DRIFT
    assert actions(ended) == {("delete", "a"), ("update", "b")}
    assert contents(site.state) == before
    assert site.made == {"b": "changed"}


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def test_a_resource_that_fails_is_named_and_the_rest_is_kept(site: Site) -> None:
    ended = await site.do("up", foundation={"make": "a"})
    (site.cloud / "b").touch()  # in the way of what is made next
    ended = await site.do("up", **two(content="a"))
    assert ended.exit == Exit.USER
    assert ended.failed is not None
    assert "File::b" in ended.failed.message
    assert ended.failed.reason == "OperationFailed"
    assert not ended.recovery_needed
    (site.cloud / "b").unlink()
    again = await site.do("up", **two())
    assert (again.exit, actions(again)) == (Exit.OK, {("create", "b")})


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("fail: Throttling: Rate exceeded", (Exit.TRANSIENT, "Throttled")),
        ("fail: AccessDenied: not you", (Exit.USER, "PermissionMissing")),
        ("fail: DBInstanceAlreadyExists", (Exit.USER, "NameTaken")),
    ],
)
async def test_what_a_cloud_says_decides_whether_it_is_tried_again(
    site: Site, said: str, expected: tuple[Exit, str]
) -> None:
    assert reason(await site.do("up", **two(content=said))) == expected


@pytest.mark.parametrize(
    ("behaviour", "expected", "words"),
    [
        ("raise", "ProgramFailed", "RuntimeError in __main__.py line"),
        ("exit", "ProgramFailed", "called exit(7)"),
        ("wrong-name", "ProgramFailed", "cannot hand over buckets"),
        ("default-provider", "ProviderMissing", "explicit provider"),
    ],
)
async def test_program_that_is_wrong_is_told_so_before_anything_is_made(
    site: Site, behaviour: str, expected: str, words: str
) -> None:
    ended = await site.do("up", foundation={"behave": behaviour, "make": "a", "secret": "hunter2hunter2"})
    assert reason(ended) == (Exit.USER, expected)
    assert ended.failed is not None
    assert words in ended.failed.message
    assert site.made == {}


async def test_outputs_of_wrong_types_are_refused_by_name(site: Site) -> None:
    ended = await site.do("up", foundation={"behave": "wrong-type", "make": "a"})
    assert reason(ended) == (Exit.USER, "OutputsInvalid")
    assert ended.failed is not None
    assert "database.port" in ended.failed.message
    assert "many" not in ended.failed.message


async def test_program_that_loops_is_ended_by_the_deadline(site: Site) -> None:
    asked = site.request("up", foundation={"behave": "loop", "make": "a"}, deadline_seconds=4.0)
    ended = await site.start(asked, patience=Patience(finish=1.0, obey=1.0))
    assert ended.exit == Exit.TRANSIENT
    assert ended.failed is not None
    assert ended.failed.reason in ("DeadlineExceeded", "RecoveryNeeded")
    ended.remove()
    recovered = await site.do("recover", foundation={"make": "a"})
    assert recovered.exit == Exit.OK
    assert (await site.do("up", foundation={"make": "a"})).exit == Exit.OK


async def test_data_is_neither_deleted_nor_replaced_without_a_decision(site: Site) -> None:
    await site.do("up", **two(data="a"))
    for asked in (two(data="a", replaced_by="new"), {"foundation": {"make": "b"}}):
        assert reason(await site.do("up", **asked)) == (Exit.POLICY, "DataProtected")
    assert site.made == {"a": "a", "b": "a"}


async def test_destruction_leaves_what_is_retained_and_names_it(site: Site) -> None:
    await site.do("up", **two(data="a"))
    ended = await site.do("destroy", **two(data="a"))
    assert reason(ended) == (Exit.OK, None)
    assert ended.result is not None
    assert ended.result.retained == ("a",)
    assert actions(ended) == {("delete", "b")}
    assert site.made == {"a": "a"}
    assert (await site.do("outputs", **two())).result is not None


async def test_data_goes_only_when_both_the_policy_and_the_decision_say_so(site: Site) -> None:
    kept, gone = {"retain": True}, {"retain": False}
    await site.do("up", **two(data="a"), inputs=gone)
    assert reason(await site.do("destroy", **two(data="a"), inputs=gone)) == (Exit.POLICY, "DataProtected")
    assert site.made == {"a": "a", "b": "a"}
    ended = await site.do("destroy", **two(data="a"), inputs=gone, destroys_data=True)
    assert (reason(ended), site.made) == ((Exit.OK, None), {})
    await site.do("up", **two(data="a"), inputs=kept)
    ended = await site.do("destroy", **two(data="a"), inputs=kept, destroys_data=True)
    assert (reason(ended), site.made) == ((Exit.OK, None), {"a": "a"})


async def test_secrets_and_what_others_are_logged_in_with_are_nowhere(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CANARY", "canary-in-the-operator")
    login = {"PULUMI_CONFIG_PASSPHRASE": PASSPHRASE, "CLOUD_TOKEN": "token-of-the-cloud-7"}
    asked = two(secret="hunter2hunter2", behave="secrets")
    ended = await site.do("up", **asked, credentials=login)
    assert ended.exit == Exit.OK
    assert ended.result is not None
    assert ended.result.outputs is not None
    assert ended.result.outputs.database is not None
    assert ended.result.outputs.database.admin_password == "hunter2hunter2"

    seen = json.loads((site.cloud / "a.seen").read_text())
    # What the provider needs, it has; what the operator has, nobody has.
    assert seen["env"]["CLOUD_TOKEN"] == "token-of-the-cloud-7"
    assert "CANARY" not in seen["env"]
    assert PASSPHRASE not in seen["env"].values()
    commands = " ".join(seen["argv"])
    assert "pulumi" in commands
    for secret in (PASSPHRASE, "token-of-the-cloud-7", "hunter2hunter2"):
        assert secret not in commands
        assert secret not in site.log
    assert "the program prints None" in site.log
    for secret in (PASSPHRASE, "hunter2hunter2"):
        assert not any(secret.encode() in content for content in contents(site.state).values())


async def test_state_is_not_read_with_another_passphrase(site: Site) -> None:
    asked = two(secret="hunter2hunter2", behave="secrets")
    await site.do("up", **asked)
    ended = await site.do("up", **asked, credentials={"PULUMI_CONFIG_PASSPHRASE": "another one"})
    assert reason(ended) == (Exit.USER, "PassphraseWrong")
    assert (await site.do("up", **asked)).exit == Exit.OK


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state_url": None}, "StateMissing"),
        ({"state_url": "file:///no/such/folder"}, "StateUnreachable"),
        ({"credentials": {}}, "PassphraseMissing"),
        ({"path": "/no/such/program"}, "ProgramMissing"),
        ({"path": None, "inputs": {"provider": "IBM"}}, "ProgramMissing"),
    ],
)
async def test_what_a_cell_lacks_is_named(site: Site, changes: dict[str, Any], expected: str) -> None:
    assert reason(await site.do("up", **two(), **changes)) == (Exit.USER, expected)
    assert site.made == {}


async def test_a_password_that_a_program_draws_is_the_same_in_every_run_and_nowhere_in_clear(site: Site) -> None:
    # given: a stack whose program draws one each time that it runs
    asked = {"foundation": {"make": "a", "behave": "draw"}}
    first = await site.do("up", **asked)
    drawn = password_of(first)

    # when: nothing, its files and finally another field are looked at and changed
    again = await site.do("up", **asked)
    drift = await site.do("drift", **asked)
    await site.do("refresh", **asked)
    changed = await site.do("up", foundation={"make": "a", "behave": "draw", "content": "x"})

    # then
    assert (len(drawn), actions(again), actions(drift)) == (30, set(), set())
    assert actions(changed) == {("update", "a")}
    assert {password_of(again), password_of(changed), password_of(await site.do("outputs", **asked))} == {drawn}
    assert drawn not in "".join(path.read_text() for path in site.state.rglob("*") if path.is_file())


async def test_a_password_that_was_drawn_is_not_lost_by_a_side_effect_but_goes_with_what_it_was_for(site: Site) -> None:
    asked = {"foundation": {"make": "a", "data": "a", "behave": "draw"}}
    await site.do("up", **asked)
    assert reason(await site.do("up", foundation={"make": "a", "data": "a"})) == (Exit.POLICY, "DataProtected")

    # when: the stack goes and its data stays
    gone = await site.do("destroy", **asked)

    # then: what stays is named, and a password is nothing that a cloud has
    assert gone.result is not None
    assert (gone.exit, gone.result.retained) == (Exit.OK, ("a",))


def password_of(ended: Ended) -> str:
    """What the stack handed over."""
    assert ended.result is not None
    assert ended.result.outputs is not None
    assert ended.result.outputs.database is not None
    return ended.result.outputs.database.admin_password or ""


@pytest.mark.parametrize("spoiled", ["", "{", '{"version": 3, "checkpoint": {"latest": {"resources": "none"}}}'])
@pytest.mark.parametrize("kind", ["preview", "up", "destroy"])
async def test_a_state_that_cannot_be_read_is_for_people_and_nothing_is_changed(
    site: Site, kind: str, spoiled: str
) -> None:
    """An empty file is what a full disk leaves; taken for an empty stack, everything would be made a second time."""
    await site.do("up", **two())
    made = site.made
    (state,) = [path for path in site.state.rglob("abcd2345*.json") if "/stacks/" in str(path)]
    state.write_text(spoiled)

    ended = await site.do(kind, **two())

    assert ended.failed is not None
    assert ended.exit is Exit.USER
    assert ended.failed.reason == "StateCorrupt"
    assert site.made == made
    assert state.read_text() == spoiled
