"""A cloud whose resources are files: what exists can be counted, lost and changed behind the engine's back."""

import json
import os
import time
from pathlib import Path
from typing import Any

import pulumi
from pulumi.dynamic import (
    CreateResult,
    DiffResult,
    ReadResult,
    Resource,
    ResourceProvider,
    UpdateResult,
)


class Files(ResourceProvider):
    """The provider; it runs in a process of its own."""

    serialize_as_secret_always = False

    def create(self, props: dict[str, Any]) -> CreateResult:
        path = Path(props["folder"]) / props["name"]
        if "fail" in props["content"]:
            raise Exception(props["content"])
        path.with_suffix(".seen").write_text(json.dumps({"env": dict(os.environ), "argv": _command_lines()}))
        path.touch(exist_ok=False)
        time.sleep(props["slow"])  # between the effect and its answer
        path.write_text(props["content"])
        return CreateResult(props["name"], {**props})

    def diff(self, _id: str, old: dict[str, Any], new: dict[str, Any]) -> DiffResult:
        replaces = [name for name in ("replaced_by", "folder") if old.get(name) != new.get(name)]
        changes = old.get("content") != new.get("content") or bool(replaces)
        return DiffResult(changes=changes, replaces=replaces, delete_before_replace=True)

    def update(self, _id: str, _old: dict[str, Any], new: dict[str, Any]) -> UpdateResult:
        (Path(new["folder"]) / new["name"]).write_text(new["content"])
        return UpdateResult({**new})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        path = Path(props["folder"]) / id_
        if not path.exists():
            return ReadResult("", {})
        return ReadResult(id_, {**props, "content": path.read_text()})

    def delete(self, id_: str, props: dict[str, Any]) -> None:
        (Path(props["folder"]) / id_).unlink(missing_ok=True)


def _command_lines() -> list[str]:
    """Of every process of the session that this one is in."""
    session = os.getsid(0)
    found = []
    for one in Path("/proc").iterdir():
        try:
            if one.name.isdigit() and os.getsid(int(one.name)) == session:
                found.append((one / "cmdline").read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


class Cloud(pulumi.ProviderResource):
    """The explicit provider."""

    def __init__(self) -> None:
        super().__init__("pulumi-python", "cloud", {})


class File(Resource, module="files", name="File"):
    """A file."""

    def __init__(
        self,
        name: str,
        *,
        folder: str,
        content: str = "a",
        replaced_by: str = "",
        slow: float = 0.0,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        props = {"name": name, "folder": folder, "content": content, "replaced_by": replaced_by, "slow": slow}
        super().__init__(Files(), name, props, opts)
