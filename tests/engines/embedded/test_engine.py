"""The embedded engine and its keeper: a server is made once, kept whoever dies, and its data goes when that is said."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from paybill.desired.stack import DatabaseInputs, DatabaseOutput, StackOutputs
from paybill.engines import runner
from paybill.engines.embedded.folder import PULSE_SECONDS, Wanted
from paybill.engines.environment import PASSED
from paybill.engines.operation import Exit, Line
from paybill.engines.port import EngineError
from tests.engines.embedded.keeping import Keeper, Tenant, actions, answer, answers, database, login, until
from tests.local.processes import alive, descendants, environment

MORE = {"database": DatabaseInputs(connections=9)}
STRANGER = "99999999-6f5e-4d7a-9c55-111111111111"


def write(where: DatabaseOutput) -> None:
    """Something that must not get lost."""
    with login(where) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")


def kept_data(where: DatabaseOutput) -> bool:
    return bool(answer(where, "SELECT answer FROM kept") == 42)


def test_from_nothing_to_a_server_that_answers(tenant: Tenant) -> None:
    found = tenant.ask("preview")
    assert actions(found) == [("create", ())]
    assert [(change.type, change.data) for change in found.changes] == [("paybill:embedded:PostgresServer", True)]
    assert found.counts == {"create": 1}
    assert not tenant.folder.path.exists(), "who only looks makes nothing"
    assert tenant.ask("outputs").outputs == StackOutputs()

    made = tenant.ask("up", expected=found.digest)
    assert (made.changes, made.counts, made.digest) == (found.changes, found.counts, found.digest)
    assert [(line.resource, line.action) for line in tenant.told] == [(f"server/{tenant.id}", "create")]
    where = database(made)
    assert answer(where, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
    assert int(answer(where, "SHOW max_connections")) >= 5
    assert answer(where, "SHOW fsync") == "on"
    with pytest.raises(psycopg.OperationalError):
        login(where, password="guess")

    # What is there is left alone: the same answer, the same process, as often as it is asked.
    serving = tenant.postmaster
    looked = tenant.ask("preview")
    for _ in range(2):
        again = tenant.ask("up")
        assert (again.changes, again.counts, again.digest) == ((), {"same": 1}, looked.digest)
        assert database(again) == where
        assert tenant.told == []
    assert looked.digest != found.digest
    assert tenant.ask("drift").changes == ()
    for kind in ("outputs", "refresh", "recover"):
        assert database(tenant.ask(kind)) == where  # type: ignore[arg-type]  # words of the list
    assert tenant.postmaster == serving


def test_what_changed_since_it_was_approved_is_not_done(tenant: Tenant) -> None:
    approved = tenant.ask("preview")
    refused = tenant.refused("up", expected=approved.digest, **MORE)
    assert (refused.exit_code, refused.failed.reason) == (Exit.POLICY, "ChangedSinceApproval")
    assert refused.result is not None
    assert refused.result.digest == tenant.ask("preview", **MORE).digest, "what it says it would do can be approved"
    assert not tenant.folder.path.exists()


def test_more_connections_are_a_restart_that_keeps_address_and_data(tenant: Tenant) -> None:
    before = tenant.up()
    write(before)
    assert actions(tenant.ask("preview", **MORE)) == [("update", ("connections",))]
    assert actions(tenant.ask("drift", **MORE)) == [("update", ("connections",))]

    after = tenant.up(**MORE)
    assert after == before
    assert kept_data(after)
    assert int(answer(after, "SHOW max_connections")) >= 9
    assert tenant.ask("preview", **MORE).changes == ()


def test_a_server_that_is_killed_comes_back_where_it_was(tenant: Tenant) -> None:
    where = tenant.up()
    write(where)
    killed = tenant.postmaster
    os.kill(killed, signal.SIGKILL)
    until(lambda: not alive({killed}))
    until(lambda: answers(where))
    assert kept_data(where)
    assert tenant.up() == where


def test_servers_end_with_their_keeper_and_the_next_one_starts_them(keeper: Keeper, tenant: Tenant) -> None:
    where = tenant.up()
    write(where)
    served = descendants(keeper.pid)
    assert tenant.postmaster in served

    keeper.end(signal.SIGKILL)
    until(lambda: not alive(served))
    keeper.start()
    until(lambda: answers(where))
    assert kept_data(where)
    assert tenant.up() == where


def test_a_keeper_that_is_told_to_end_leaves_nothing_running(keeper: Keeper, tenant: Tenant) -> None:
    where = tenant.up()
    served = descendants(keeper.pid)
    keeper.end()
    assert not alive(served)
    keeper.start()
    until(lambda: answers(where))


def test_data_that_must_outlive_its_stack_stays_and_is_found_again(tenant: Tenant) -> None:
    where = tenant.up(retain=True)
    write(where)
    gone = tenant.ask("destroy", retain=True)
    assert (gone.changes, gone.retained) == ((), (str(tenant.folder.path),))
    assert not answers(where)
    assert (tenant.data / "PG_VERSION").exists()
    assert tenant.ask("outputs").outputs == StackOutputs()
    again = tenant.ask("destroy", retain=True)
    assert (again.changes, again.retained) == (gone.changes, gone.retained)

    assert actions(tenant.ask("preview", retain=True)) == [("update", ("state",))]
    back = tenant.up(retain=True)
    assert back == where
    assert kept_data(back)


@pytest.mark.parametrize(
    "said", [{"retain": False}, {"retain": True, "destroys_data": True}], ids=["by the policy", "by an approval"]
)
def test_data_goes_where_that_was_said(tenant: Tenant, said: dict[str, Any]) -> None:
    where = tenant.up(retain=said["retain"])
    gone = tenant.ask("destroy", **said)
    assert actions(gone) == [("delete", ())]
    assert (gone.retained, gone.counts) == ((), {"delete": 1})
    assert not answers(where)
    assert not tenant.folder.path.exists()
    again = tenant.ask("destroy", **said)
    assert (again.changes, again.retained) == ((), ())


def test_what_was_destroyed_is_made_anew(tenant: Tenant) -> None:
    before = tenant.up()
    write(before)
    tenant.ask("destroy")
    after = tenant.up()
    assert after.admin_password != before.admin_password
    assert answer(after, "SELECT to_regclass('kept')") is None


def test_what_somebody_took_away_by_hand_is_made_anew(keeper: Keeper, tenant: Tenant) -> None:
    before = tenant.up()
    tenant.folder.path.rename(keeper.home.path / tenant.id)
    after = tenant.up()
    assert answers(after)
    assert after.admin_password != before.admin_password


@pytest.mark.parametrize("kind", ["preview", "up", "drift", "destroy", "outputs", "refresh", "recover"])
@pytest.mark.parametrize(
    "other", [{"tenant_uid": STRANGER}, {"installation": "elsewhere"}], ids=lambda one: next(iter(one))
)
def test_another_tenants_server_is_nobody_elses(keeper: Keeper, kind: Any, other: dict[str, str]) -> None:
    tenant = keeper.tenant()
    tenant.folder.ask(Wanted.of(tenant.request("up").inputs, "Stopped"))
    wanted = (tenant.folder.path / "wanted.json").read_bytes()

    refused = tenant.refused(kind, destroys_data=True, **other)

    assert (refused.exit_code, refused.failed.reason) == (Exit.USER, "NameTaken")
    assert str(tenant.folder.path) in refused.failed.message
    assert next(iter(other.values())) in refused.failed.message or "tests" in refused.failed.message
    assert "move it away" in refused.failed.message
    assert (tenant.folder.path / "wanted.json").read_bytes() == wanted


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(None, id="there never was one"),
        pytest.param({"pid": 1, "time": time.time() - PULSE_SECONDS - 1}, id="its last sign of life is old"),
        pytest.param("{", id="what it wrote is not whole"),
    ],
)
def test_without_a_keeper_it_is_said_who_is_missing_and_tried_later(tmp_path: Path, content: Any) -> None:
    tenant = Tenant(tmp_path, "nobody00", {})
    if content is not None:
        (tmp_path / "keeper.json").write_text(content if isinstance(content, str) else json.dumps(content))
    refused = tenant.refused("up")
    assert (refused.exit_code, refused.failed.reason) == (Exit.TRANSIENT, "NoKeeper")
    assert "`paybill up`" in refused.failed.message


def test_on_a_cluster_there_is_no_folder_of_servers(tmp_path: Path) -> None:
    refused = Tenant(tmp_path, "nobody00", {}).refused("up", home="")
    assert (refused.exit_code, refused.failed.reason) == (Exit.USER, "NoHome")
    assert "choose engine Pulumi or Terraform" in refused.failed.message


def test_a_server_that_cannot_start_says_why_and_recovers_when_it_is_mended(tenant: Tenant) -> None:
    where = tenant.up()
    write(where)
    tenant.ask("destroy", retain=True)
    version = (tenant.data / "PG_VERSION").read_text()
    (tenant.data / "PG_VERSION").write_text("9\n")

    refused = tenant.refused("up")

    assert (refused.exit_code, refused.failed.reason) == (Exit.TRANSIENT, "ServerFailed")
    assert str(tenant.folder.path) in refused.failed.message
    assert "is of Postgres 9, but" in refused.failed.message
    assert "install Postgres 9" in refused.failed.message
    assert actions(tenant.ask("preview")) == [("update", ("running",))]

    (tenant.data / "PG_VERSION").write_text(version)
    back = until(lambda: _tried(tenant))
    assert back == where
    assert kept_data(back)


def _tried(tenant: Tenant) -> DatabaseOutput | None:
    """The next try of whoever asks for it."""
    try:
        return tenant.up()
    except EngineError:
        return None


def test_who_cannot_be_helped_does_not_hold_up_the_others(keeper: Keeper, tenant: Tenant) -> None:
    """More broken servers than are made side by side, each tried again and again."""
    broken = [keeper.tenant() for _ in range(3)]
    for one in broken:
        one.data.mkdir(parents=True)
        (one.data / "PG_VERSION").write_text("no number")
    try:
        for one in broken:
            assert one.refused("up").failed.reason == "ServerFailed"
        assert answers(tenant.up(deadline_seconds=30.0))
    finally:
        for one in broken:
            one.ask("destroy", destroys_data=True)
            assert not one.folder.path.exists()


async def test_a_worker_makes_it_and_sees_nothing_of_our_environment(
    tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAYBILL_CONTROL_DATABASE_URL", "postgresql://secret")
    request = tenant.request("up", work_dir=tmp_path / "op")
    seen: list[dict[str, str]] = []

    def look(_: Line) -> None:
        identity = runner.Folder(tmp_path / "op").identity()
        if identity is not None and not seen:
            seen.append(environment(identity.pid))

    ended = await asyncio.wait_for(runner.run(request, on_line=look), 90)

    assert (ended.exit, ended.failed, ended.recovery_needed) == (Exit.OK, None, False)
    assert ended.result is not None
    assert answers(database(ended.result))
    assert set(seen[0]) - set(PASSED) == {"HOME", "TMPDIR", "USER", "PYTHONPATH", "PYTHONDONTWRITEBYTECODE"}
    assert seen[0]["HOME"] == str(tmp_path / "op")
    assert database(ended.result).admin_password not in (tmp_path / "op" / "log").read_text()
    ended.remove()
