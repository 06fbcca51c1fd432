"""What a backup looks like at rest: a stream of chunks that only the key opens, in this order, up to this end.

A backup leaves the database's own protection and lies about for months, so it is encrypted and authenticated here,
whatever the store does besides. AES-256-GCM seals each chunk; its nonce carries the chunk's number and whether it is
the last one (the STREAM construction, Hoang et al. 2015), so a chunk that is changed, left out, doubled, moved or cut
off fails to open. Every backup has a key of its own, derived from the installation's (HKDF) with a random salt.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
from collections.abc import AsyncIterator, Mapping
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from paybill.api.failures import Blocked, Invalid

CHUNK: Final = 1 << 20
"""Bytes of content per chunk: small enough to hold a few of them, large enough that 16 bytes more do not matter."""
TAG: Final = 16
MAGIC: Final = b"PBSEAL01"
SALT: Final = 16
HEADER: Final = len(MAGIC) + SALT
KEY_BYTES: Final = 32
_COUNTER: Final = 11
"""Bytes of the nonce that count; the twelfth says whether the chunk is the last."""


class Keyring:
    """The keys of an installation by their ids: the current one seals, all of them open."""

    def __init__(self, current: bytes, others: tuple[bytes, ...] = ()) -> None:
        for key in (current, *others):
            if len(key) != KEY_BYTES:
                raise Invalid("BackupKeyInvalid", f"a backup key has {KEY_BYTES} random bytes, this one {len(key)}")
        self._keys = {key_id(key): key for key in (*others, current)}
        self.current = key_id(current)

    @classmethod
    def read(cls, data: Mapping[str, bytes], current: str) -> Keyring:
        """The keys in a Secret: each value is 32 bytes, raw or in base64; ``current`` is the one that seals."""
        if current not in data:
            raise Invalid("BackupKeyInvalid", f"the Secret of the backup key has no key {current}")
        keys = {name: _decoded(name, value) for name, value in data.items()}
        return cls(keys[current], tuple(key for name, key in keys.items() if name != current))

    def key(self, identity: str) -> bytes:
        """The key with this id; raises ``Blocked("BackupKeyMissing")``."""
        try:
            return self._keys[identity]
        except KeyError:
            raise Blocked(
                "BackupKeyMissing",
                f"the backup was sealed with key {identity}, which is not in the Secret: put that key back beside the"
                " current one",
            ) from None

    def sign(self, identity: str, message: bytes) -> str:
        """The authentication of a manifest, in hexadecimal digits."""
        return hmac.new(_derived(self.key(identity), b"", b"paybill manifest"), message, hashlib.sha256).hexdigest()

    def signed(self, identity: str, message: bytes, signature: str) -> bool:
        """Whether ``signature`` is what ``sign`` made of ``message``."""
        return hmac.compare_digest(self.sign(identity, message), signature)


def key_id(key: bytes) -> str:
    """What a key is called where everybody may read it: nothing can be guessed from it."""
    return _derived(key, b"", b"paybill key id")[:4].hex()


def new_key() -> str:
    """A random key, in base64, as a Secret's value."""
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


async def sealed(content: AsyncIterator[bytes], key: bytes, name: str) -> AsyncIterator[bytes]:
    """``content`` sealed; ``name`` says what it is and has to be the same when it is opened."""
    salt = os.urandom(SALT)
    yield MAGIC + salt
    cipher = AESGCM(_derived(key, salt, name.encode()))
    number, held = 0, bytearray()
    async for piece in content:
        held += piece
        while len(held) > CHUNK:  # the last chunk is known only when nothing comes after it
            yield cipher.encrypt(_nonce(number, last=False), bytes(held[:CHUNK]), MAGIC)
            del held[:CHUNK]
            number += 1
    yield cipher.encrypt(_nonce(number, last=True), bytes(held), MAGIC)


async def opened(stored: AsyncIterator[bytes], key: bytes, name: str) -> AsyncIterator[bytes]:
    """The content of what ``sealed`` made; raises ``Blocked("BackupDamaged")`` at the first byte that is not as it was.

    What was yielded before is genuine; that it was all is known only when this ends.
    """
    held, cipher, number = bytearray(), None, 0
    async for piece in stored:
        held += piece
        if cipher is None and len(held) >= HEADER:
            cipher = _cipher(bytes(held[:HEADER]), key, name)
            del held[:HEADER]
        while cipher is not None and len(held) > CHUNK + TAG:
            yield _open(cipher, number, bytes(held[: CHUNK + TAG]), name, last=False)
            del held[: CHUNK + TAG]
            number += 1
    if cipher is None:
        raise _damaged(name, "it is cut off in its header")
    yield _open(cipher, number, bytes(held), name, last=True)


def _cipher(header: bytes, key: bytes, name: str) -> AESGCM:
    if header[: len(MAGIC)] != MAGIC:
        raise _damaged(name, "it does not begin as a sealed stream does")
    return AESGCM(_derived(key, header[len(MAGIC) :], name.encode()))


def _open(cipher: AESGCM, number: int, chunk: bytes, name: str, *, last: bool) -> bytes:
    try:
        return cipher.decrypt(_nonce(number, last=last), chunk, MAGIC)
    except InvalidTag:
        what = "its last chunk" if last else f"chunk {number}"
        raise _damaged(name, f"{what} was changed, moved or cut off, or the key is another one") from None


def _damaged(name: str, why: str) -> Blocked:
    return Blocked("BackupDamaged", f"{name} is not as it was written: {why}")


def _nonce(number: int, *, last: bool) -> bytes:
    return number.to_bytes(_COUNTER, "big") + bytes([last])


def _derived(key: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=salt or None, info=info).derive(key)


def _decoded(name: str, value: bytes) -> bytes:
    if len(value) == KEY_BYTES:
        return value
    try:
        key = base64.b64decode(value.strip(), validate=True)
    except binascii.Error:
        key = b""
    if len(key) != KEY_BYTES:
        raise Invalid(
            "BackupKeyInvalid",
            f"key {name} of the Secret of the backup key is not {KEY_BYTES} random bytes, raw or in base64",
        )
    return key
