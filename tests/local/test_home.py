"""Where things are kept, and that nobody else may read them."""

import stat
from pathlib import Path

import pytest

from paybill.api.failures import Invalid
from paybill.local.home import Home, cache_folder, private_folder, state_folder, write_private


@pytest.mark.parametrize(
    ("environ", "cache", "state"),
    [
        ({"PAYBILL_CACHE": "/c", "PAYBILL_HOME": "/s", "XDG_CACHE_HOME": "/x"}, "/c", "/s"),
        ({"XDG_CACHE_HOME": "/x", "XDG_STATE_HOME": "/y"}, "/x/paybill", "/y/paybill"),
        ({}, "~/.cache/paybill", "~/.local/state/paybill"),
    ],
    ids=["our variables first", "then the desktop's", "else below the home folder"],
)
def test_folders_come_from_the_environment(environ, cache, state):
    assert cache_folder(environ) == Path(cache).expanduser()
    assert state_folder(environ) == Path(state).expanduser()


@pytest.mark.parametrize("name", ["", "..", "a/b", "A", "-x", "x" * 41, "a b"])
def test_a_name_that_could_lead_elsewhere_is_refused(name):
    with pytest.raises(Invalid, match="is no instance name"):
        Home.of(name, {"PAYBILL_HOME": "/s"})


def test_only_the_owner_can_read_what_is_written(tmp_path):
    folder = private_folder(tmp_path / "a" / "b")
    file = write_private(folder / "secret", "x")
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_state_file_cut_short_by_a_crash_counts_as_none(tmp_path):
    home = Home(tmp_path / "x")
    home.create()
    home.state.write_text('{"ports": {"api"')
    assert home.read_state() == {}
    home.write_state(ready=True)
    assert home.read_state() == {"ready": True}
