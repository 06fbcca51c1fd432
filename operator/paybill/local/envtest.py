"""The published envtest archive: etcd and kube-apiserver without building them, where it can be reached.

The index is read over TLS from the project that publishes the archives, and an archive counts only when its SHA-512
is the one in the index. Many machines cannot reach either, so giving up must be quick and is no error: the caller
goes on to build.
"""

import hashlib
import logging
import platform
import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
import yaml

from paybill.local.home import make_folder

logger = logging.getLogger(__name__)

INDEX_URL = "https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml"
PROGRAMS = ("etcd", "kube-apiserver")
_MACHINES = {"x86_64": "amd64", "aarch64": "arm64", "ppc64le": "ppc64le", "s390x": "s390x"}
_REACH_SECONDS = 5.0
_DOWNLOAD_SECONDS = 600.0
_LARGEST_BYTES = 512 * 1024 * 1024


class _UnusableError(Exception):
    """The archive cannot be had, or is not what its index says; the message says why."""


async def fetch(
    wanted: Sequence[str], folder: Path, version: str, progress: Callable[[str], None], *, index_url: str = INDEX_URL
) -> bool:
    """Put the ``wanted`` programs of the Kubernetes ``version`` into ``folder``; whether that was possible."""
    progress("looking for published binaries of the control plane")
    try:
        # As pip and Go do, it honours the proxy settings of the environment.
        async with aiohttp.ClientSession(trust_env=True) as session:
            link, digest = _entry(await _read_index(session, index_url), version)
            with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
                archive = Path(scratch) / "archive.tar.gz"
                progress(f"fetching {link}")
                await _download(session, link, archive, digest)
                _unpack(archive, wanted, Path(scratch), folder)
    except (_UnusableError, aiohttp.ClientError, TimeoutError, tarfile.TarError, yaml.YAMLError, OSError) as error:
        reason = str(error) or type(error).__name__
        logger.info("published envtest binaries are not used: %s", reason)
        progress(f"published binaries cannot be had ({reason})")
        return False
    return True


async def _read_index(session: aiohttp.ClientSession, url: str) -> object:
    async with session.get(url, timeout=aiohttp.ClientTimeout(total=_REACH_SECONDS)) as answer:
        answer.raise_for_status()
        return yaml.safe_load(await answer.text())


def _entry(index: object, version: str) -> tuple[str, str]:
    """Where the archive for this machine is, and its SHA-512 in hexadecimal digits."""
    machine = _MACHINES.get(platform.machine(), platform.machine())
    match index:
        case {"releases": {**releases}} if isinstance(release := releases.get(version), dict):
            match release.get(f"envtest-{version}-linux-{machine}.tar.gz"):
                case {"hash": str(digest), "selfLink": str(link)}:
                    return link, digest
    raise _UnusableError(f"there are none of {version} for linux-{machine}")


async def _download(session: aiohttp.ClientSession, link: str, archive: Path, digest: str) -> None:
    timeout = aiohttp.ClientTimeout(total=_DOWNLOAD_SECONDS, connect=_REACH_SECONDS, sock_read=_REACH_SECONDS)
    actual, size = hashlib.sha512(), 0
    async with session.get(link, timeout=timeout) as answer:
        answer.raise_for_status()
        with archive.open("wb") as file:
            async for chunk in answer.content.iter_chunked(1 << 20):
                size += len(chunk)
                if size > _LARGEST_BYTES:
                    raise _UnusableError(f"{link} is larger than {_LARGEST_BYTES} bytes")
                actual.update(chunk)
                file.write(chunk)
    if actual.hexdigest() != digest:
        raise _UnusableError(f"{link} does not have the checksum that its index gives: it is not used")


def _unpack(archive: Path, wanted: Sequence[str], scratch: Path, folder: Path) -> None:
    """Only the files that are wanted, by name: nothing in the archive decides where anything is written."""
    with tarfile.open(archive, "r:gz") as members:
        for member in members:
            name = Path(member.name).name
            if member.isfile() and name in wanted and (content := members.extractfile(member)):
                with (scratch / name).open("wb") as file:
                    shutil.copyfileobj(content, file)
                (scratch / name).chmod(0o755)
    if missing := [name for name in wanted if not (scratch / name).exists()]:
        raise _UnusableError(f"the archive lacks {', '.join(missing)}")
    make_folder(folder)
    for name in wanted:
        (scratch / name).replace(folder / name)
