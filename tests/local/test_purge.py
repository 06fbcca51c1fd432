"""`paybill down --purge` takes away all that an instance made, wherever it had to keep it, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest

from paybill.api.failures import Blocked
from paybill.local import lock, running
from paybill.local.home import Home

TENANT = "k3x9m2qd"


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An instance that does not run, with one tenant that has a server of its own."""
    home = Home(tmp_path / "mine")
    home.create()
    home.lock.write_text("")
    Home(home.servers / TENANT).create()
    return home


@pytest.fixture
def server(home: Home) -> Home:
    return Home(home.servers / TENANT)


def folder(path: Path) -> Path:
    """A folder with something in it."""
    (path / "base").mkdir(parents=True)
    (path / "base" / "1").write_text("data")
    return path


@pytest.mark.parametrize("who", ["the instance", "a tenant's server"])
def test_data_that_is_kept_elsewhere_goes_too(tmp_path: Path, home: Home, server: Home, who: str) -> None:
    owner = home if who == "the instance" else server
    data, sockets = folder(tmp_path / f"{owner.name}-0123456789"), folder(tmp_path / "paybill-0-0123456789")
    others = folder(tmp_path / "another-0123456789")
    owner.write_state(elsewhere=[str(data), str(sockets), str(tmp_path / "paybill-gone")])

    assert running.purge(home)

    assert not home.path.exists()
    assert not data.exists()
    assert not sockets.exists()
    assert (others / "base" / "1").exists()


@pytest.mark.parametrize("name", ["documents", "k3x9m2qd", "mine", "xpaybill-1"])
def test_a_folder_that_does_not_bear_its_name_is_left(tmp_path: Path, home: Home, server: Home, name: str) -> None:
    elsewhere = folder(tmp_path / "far" / name)
    for one in (home, server):
        one.write_state(elsewhere=[str(elsewhere)])
    assert running.purge(home)
    assert (elsewhere / "base" / "1").exists()
    assert not home.path.exists()


def test_a_server_whose_state_was_cut_short_does_not_keep_the_rest_from_going(home: Home, server: Home) -> None:
    server.state.write_text('{"elsewhere": [')
    assert running.purge(home)
    assert not home.path.exists()


def test_what_runs_is_not_taken_away(home: Home) -> None:
    held = lock.HomeLock(home.lock)
    held.acquire()
    with pytest.raises(Blocked, match="stop it first"):
        running.purge(home)
    held.release()
    assert home.servers.is_dir()


def test_a_folder_that_no_instance_made_is_left(tmp_path: Path) -> None:
    folder(tmp_path / "mine")
    assert not running.purge(Home(tmp_path / "mine"))
    assert (tmp_path / "mine" / "base" / "1").exists()
