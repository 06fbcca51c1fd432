"""A folder as a store: a file is there whole or not at all, and no name leads out of it."""

import pytest

from paybill.api.failures import Blocked, Invalid, Retry
from paybill.backups.store import DirectoryStore

OUTSIDE = ("", "/etc/passwd", "../x", "a/../b", "a//b", ".hidden", "a/.b", "a b", "a\n", "a/b/c/d/e/f")


async def of(*pieces: bytes):
    for piece in pieces:
        yield piece


async def read(store, name: str) -> bytes:
    return b"".join([piece async for piece in store.get(name)])


async def test_what_is_put_is_got_listed_and_deleted(tmp_path):
    store = DirectoryStore(tmp_path)
    assert await store.put("i/t/b/data", of(b"one", b"two")) == 6
    await store.put("i/t/b2/data", of(b"x"))

    assert await read(store, "i/t/b/data") == b"onetwo"
    assert await store.names("i/t") == ["i/t/b/data", "i/t/b2/data"]
    await store.delete("i/t/b")
    await store.delete("i/t/b")
    assert await store.names("i/t") == ["i/t/b2/data"]
    with pytest.raises(Blocked) as failure:
        await read(store, "i/t/b/data")
    assert failure.value.reason == "BackupMissing"


async def test_only_the_owner_can_read_it(tmp_path):
    store = DirectoryStore(tmp_path / "deep")
    await store.put("i/t/b/data", of(b"x"))
    for path in (tmp_path / "deep").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


async def test_what_fails_midway_leaves_nothing_and_keeps_what_was(tmp_path):
    store = DirectoryStore(tmp_path)
    await store.put("i/t/b/data", of(b"before"))

    async def breaks():
        yield b"half"
        raise RuntimeError("gone")

    with pytest.raises(RuntimeError):
        await store.put("i/t/b/data", breaks())
    assert await read(store, "i/t/b/data") == b"before"
    assert [path.name for path in (tmp_path / "i/t/b").iterdir()] == ["data"]


@pytest.mark.parametrize(
    "name", ["", "/etc/passwd", "../x", "a/../b", "a//b", ".hidden", "a/.b", "a b", "a\n", "a/b/c/d/e/f"]
)
async def test_no_name_leads_out_of_it(tmp_path, name):
    with pytest.raises(Invalid):
        await DirectoryStore(tmp_path).put(name, of(b"x"))


async def test_a_folder_that_cannot_be_written_is_no_bug(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Retry) as failure:
        await DirectoryStore(tmp_path / "file").put("i/t/b/data", of(b"x"))
    assert failure.value.reason == "BackupStoreUnavailable"
