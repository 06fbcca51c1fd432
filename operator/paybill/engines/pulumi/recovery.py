"""After an operation that died: what it may have made is found again, and only then forgotten.

The engine writes down each step before it takes it. A step that is still written down was begun, and nobody knows
whether the cloud carried it out. Updates and deletions show in a refresh; a creation does not, because the cloud's id
was never heard. It is found by what the id follows from, which the programs make from the tenant's identity, and is
otherwise given up: what exists then is found by its tags, and refuses to be made again under the same name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from types import MappingProxyType

from pulumi.automation.errors import CommandError

from paybill.engines.operation import Progress
from paybill.engines.port import Tell
from paybill.engines.pulumi.state import Pending, State
from paybill.engines.pulumi.workspace import Workspace

Finder = Callable[[str, str, dict[str, object]], str | None]

ID_FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "aws:cloudwatch/logGroup:LogGroup": "name",
        "aws:iam/role:Role": "name",
        "aws:kms/alias:Alias": "name",
        "aws:rds/instance:Instance": "identifier",
        "aws:rds/parameterGroup:ParameterGroup": "name",
        "aws:rds/subnetGroup:SubnetGroup": "name",
        "aws:s3/bucket:Bucket": "bucket",
        "aws:s3/bucketV2:BucketV2": "bucket",
        "gcp:sql/databaseInstance:DatabaseInstance": "name",
        "gcp:storage/bucket:Bucket": "name",
    }
)
"""Types whose id in the cloud is the value of a field that the program gives."""

LOOKS = 4
"""How often a finder is asked: what was just made is not always seen at once."""
WAIT_SECONDS = 5.0


def mend(workspace: Workspace, state: State, finder: Finder | None, tell: Tell) -> dict[str, int]:
    """Take in or forget what is pending; returns how many creations were ``imported`` and ``cleared``."""
    creations = [one for one in state.pending if one.operation == "creating"]
    imports = {one.urn: found for one in creations if (found := _find(one, finder)) is not None}
    try:
        workspace.refresh_pending(imports)
    except CommandError:
        # An id that follows from a name exists only if the creation got that far; the cloud says so by refusing.
        still = {one.urn for one in workspace.state().pending}
        if not imports or not still & set(imports):
            raise
        imports = {urn: id_ for urn, id_ in imports.items() if urn not in still}
        workspace.refresh_pending({})
    for one in creations:
        action = "import" if one.urn in imports else "clear"
        tell(Progress(phase="recover", resource=one.urn, action=action))
    return {"imported": len(imports), "cleared": len(creations) - len(imports)}


def _find(pending: Pending, finder: Finder | None) -> str | None:
    if finder is not None:
        for look in range(LOOKS):
            if look:
                time.sleep(WAIT_SECONDS)
            if (found := finder(pending.type, pending.urn, dict(pending.inputs))) is not None:
                return found
        return None
    if pending.type.startswith("kubernetes:"):
        metadata = pending.inputs.get("metadata") or {}
        name, namespace = metadata.get("name"), metadata.get("namespace")
        return f"{namespace}/{name}" if namespace and name else name
    value = pending.inputs.get(ID_FIELDS.get(pending.type, ""))
    return value if isinstance(value, str) else None
