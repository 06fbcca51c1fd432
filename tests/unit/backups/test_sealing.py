"""A sealed stream opens as it was, or not at all."""

import base64
import os

import pytest

from paybill.api.failures import Blocked, Invalid
from paybill.backups import sealing
from paybill.backups.sealing import CHUNK, HEADER, TAG, Keyring, key_id, opened, sealed

KEY = os.urandom(32)


async def pieces(whole: bytes, size: int = 70_001):
    for start in range(0, len(whole), size):
        yield whole[start : start + size]


async def seal(content: bytes, name: str = "b") -> bytes:
    return b"".join([piece async for piece in sealed(pieces(content), KEY, name)])


async def open_it(stored: bytes, name: str = "b", key: bytes = KEY) -> bytes:
    return b"".join([piece async for piece in opened(pieces(stored), key, name)])


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 3 * CHUNK + 17])
async def test_any_size_comes_back(size):
    content = os.urandom(size)
    assert await open_it(await seal(content)) == content


def chunks(stored: bytes) -> list[bytes]:
    body = stored[HEADER:]
    return [body[start : start + CHUNK + TAG] for start in range(0, len(body), CHUNK + TAG)]


@pytest.mark.parametrize(
    ("damage", "changed"),
    [
        ("a bit of the magic", lambda s: bytes([s[0] ^ 1]) + s[1:]),
        ("a bit of the salt", lambda s: s[:10] + bytes([s[10] ^ 1]) + s[11:]),
        ("a bit of the first chunk", lambda s: s[:100] + bytes([s[100] ^ 1]) + s[101:]),
        ("a bit of the last tag", lambda s: s[:-1] + bytes([s[-1] ^ 1])),
        ("cut in the header", lambda s: s[:5]),
        ("nothing but the header", lambda s: s[:HEADER]),
        ("cut within a chunk", lambda s: s[: HEADER + CHUNK // 2]),
        ("cut between two chunks", lambda s: s[: HEADER + CHUNK + TAG]),
        ("its last chunk is missing", lambda s: s[:HEADER] + b"".join(chunks(s)[:-1])),
        ("two chunks swapped", lambda s: s[:HEADER] + b"".join([chunks(s)[1], chunks(s)[0], *chunks(s)[2:]])),
        ("a chunk doubled", lambda s: s[:HEADER] + b"".join([chunks(s)[0], *chunks(s)])),
        ("a chunk left out", lambda s: s[:HEADER] + b"".join(chunks(s)[1:])),
        ("something after the end", lambda s: s + b"x"),
    ],
)
async def test_what_is_not_as_it_was_is_refused(damage, changed):
    stored = await seal(os.urandom(3 * CHUNK + 5))
    with pytest.raises(Blocked) as failure:
        await open_it(changed(stored))
    assert failure.value.reason == "BackupDamaged", damage


async def test_another_key_or_another_backup_does_not_open_it():
    stored = await seal(b"content")
    for name, key in (("b", os.urandom(32)), ("c", KEY)):
        with pytest.raises(Blocked):
            await open_it(stored, name, key)


async def test_the_same_content_is_never_sealed_the_same():
    assert await seal(b"content") != await seal(b"content")


def test_a_secret_may_hold_old_keys_beside_the_current_one():
    old, new = os.urandom(32), os.urandom(32)
    keyring = Keyring.read({"old": base64.b64encode(old) + b"\n", "new": new}, "new")
    assert keyring.current == key_id(new)
    assert keyring.key(key_id(old)) == old
    with pytest.raises(Blocked) as failure:
        keyring.key("00000000")
    assert failure.value.reason == "BackupKeyMissing"


@pytest.mark.parametrize("value", [b"", b"short", b"%" * 44, base64.b64encode(b"x" * 16)])
def test_what_is_no_key_is_refused_without_being_shown(value):
    with pytest.raises(Invalid) as failure:
        Keyring.read({"key": value}, "key")
    assert failure.value.reason == "BackupKeyInvalid"
    assert len(value) < 5 or value.decode() not in failure.value.message


def test_a_new_key_is_one():
    assert Keyring.read({"key": sealing.new_key().encode()}, "key").current
