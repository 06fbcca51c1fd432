"""Where states are kept: a folder, or a bucket that speaks S3; from the URL of the Cell's engine state.

``file:///folder`` and ``s3://bucket/prefix?region=…``; each stack has a file of its own there, named by identity. The
options of an S3 URL are those that Pulumi's backend takes (region, endpoint, s3ForcePathStyle), so that one URL serves
both engines, and ``kms_key_id``. Logins are never part of it: they come as the cloud's own environment variables.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from paybill.engines.operation import Exit, Request
from paybill.engines.port import EngineError
from paybill.engines.terraform.binary import LOCKS_ON_S3, Binary

ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL")
_OPTIONS = {"region", "endpoint", "s3ForcePathStyle", "kms_key_id", "awssdk"}


def backend(request: Request, binary: Binary) -> dict[str, Any]:
    """The ``backend`` block of a stack's root; raises EngineError for a URL that cannot be used."""
    if not request.state_url:
        happened = f"the Cell {request.inputs.cell} does not say where the state is kept: add spec.engine.state.url"
        raise EngineError(Exit.USER, "StateMissing", happened)
    url = urlsplit(request.state_url)
    match url.scheme:
        case "file":
            return _local(url, request)
        case "s3":
            return _s3(url, request, binary)
    happened = f"a state cannot be kept at {url.scheme}://: the Terraform engine takes file:// and s3:// URLs"
    raise EngineError(Exit.USER, "StateUnsupported", happened)


def _local(url: SplitResult, request: Request) -> dict[str, Any]:
    folder = Path(unquote(url.netloc + url.path)).expanduser().resolve() / request.inputs.project
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        happened = f"cannot make the folder {folder} for the state: {error.strerror}"
        raise EngineError(Exit.USER, "StateUnreachable", happened) from error
    return {"local": {"path": str(folder / f"{request.inputs.stack}.tfstate")}}


def _s3(url: SplitResult, request: Request, binary: Binary) -> dict[str, Any]:
    if binary.version < LOCKS_ON_S3:
        version = ".".join(map(str, binary.version))
        happened = f"{binary.path} is version {version}, which cannot lock a state on S3: 1.10 or newer is needed"
        raise EngineError(Exit.USER, "CliTooOld", happened)
    options = {name: values[-1] for name, values in parse_qs(url.query).items()}
    unknown = sorted(options.keys() - _OPTIONS)
    if unknown or not url.netloc:
        what = f"does not take {', '.join(unknown)}" if unknown else "names no bucket"
        raise EngineError(Exit.USER, "StateUnsupported", f"the state's URL {what}: see the options of s3:// URLs")
    prefix = unquote(url.path).strip("/")
    key = "/".join(filter(None, (prefix, request.inputs.project, f"{request.inputs.stack}.tfstate")))
    block: dict[str, Any] = {
        "bucket": url.netloc,
        "key": key,
        "region": _region(options, request),
        "encrypt": True,
        "use_lockfile": True,
    }
    if key_id := options.get("kms_key_id") or _kms(request.secrets_provider):
        block["kms_key_id"] = key_id
    return {"s3": block | _elsewhere(options, request.credentials)}


def _region(options: Mapping[str, str], request: Request) -> str:
    known = (
        options.get("region"),
        request.credentials.get("AWS_REGION"),
        request.credentials.get("AWS_DEFAULT_REGION"),
    )
    own = request.inputs.region if request.inputs.provider == "AWS" else ""
    return next(filter(None, (*known, own)), "us-east-1")


def _kms(provider: str | None) -> str | None:
    """The key of a secrets provider such as ``awskms://alias/paybill?region=eu-central-1``."""
    url = urlsplit(provider or "")
    return unquote((url.netloc + url.path).strip("/")) or None if url.scheme == "awskms" else None


def _elsewhere(options: Mapping[str, str], credentials: Mapping[str, str]) -> dict[str, Any]:
    """What another store than AWS's own needs: it has no STS, no account numbers and no host name per bucket."""
    named = options.get("endpoint")
    if not named and not any(credentials.get(name) for name in ENDPOINTS):
        return {}
    block: dict[str, Any] = {
        "use_path_style": options.get("s3ForcePathStyle", "true") != "false",
        "skip_credentials_validation": True,
        "skip_metadata_api_check": True,
        "skip_region_validation": True,
        "skip_requesting_account_id": True,
        "skip_s3_checksum": True,
    }
    if named:
        block["endpoints"] = {"s3": named if "://" in named else f"https://{named}"}
    return block
