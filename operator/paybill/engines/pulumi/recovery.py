"""After an operation that died: what it may have made is found again, and only then forgotten.

The engine writes down each step before it takes it. A step that is still written down was begun, and nobody knows
whether the cloud carried it out. Updates and deletions show in a refresh; a creation does not, because the cloud's id
was never heard. It is found by what the id follows from, which the programs make from the tenant's identity, and put
into the state as if the answer had come; the refresh after that corrects it, and takes out again what does not exist.
What cannot be found is forgotten: it has the tenant's tags, and its name refuses to be made a second time.

The CLI's own way (``refresh --import-pending-creates``) is not taken: it notes the id in the pending step and the
refresh drops the step without reading anything (seen with 3.260), so the next update makes everything again.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from paybill.engines.pulumi.state import Pending, State

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
WAIT_SECONDS = 4.0


def find_all(state: State, finder: Finder | None) -> dict[str, str]:
    """The ids in the cloud of the pending creations that can be found, by URN."""
    found: dict[str, str] = {}
    waiting = [one for one in state.pending if one.operation == "creating"]
    for look in range(LOOKS if finder is not None else 1):
        if look and waiting:
            time.sleep(WAIT_SECONDS)
        found |= {one.urn: id_ for one in waiting if (id_ := _find(one, finder)) is not None}
        waiting = [one for one in waiting if one.urn not in found]
    return found


def mended(deployment: Mapping[str, Any], found: Mapping[str, str]) -> dict[str, Any]:
    """A deployment without pending steps, in which the creations in ``found`` (URN to id) have come to their end."""
    content = copy.deepcopy(dict(deployment))
    resources = list(content.get("resources") or ())
    for step in content.pop("pending_operations", None) or ():
        made = step["resource"]
        if step["type"] == "creating" and made["urn"] in found:
            answered = {"id": found[made["urn"]], "outputs": made.get("outputs") or made.get("inputs") or {}}
            _put(resources, {**made, **answered})
    return {**content, "resources": resources}


def _put(resources: list[dict[str, Any]], made: dict[str, Any]) -> None:
    """Put a creation beside, or in the place of, what it was to replace."""
    for index, old in enumerate(resources):
        if old["urn"] != made["urn"] or old.get("delete"):
            continue
        if old.get("pendingReplacement"):  # it was deleted before
            resources[index] = made
            return
        if old.get("id") == made["id"]:  # the name is the old one's, so the new one was not made
            return
        resources[index] = {**old, "delete": True}
        break
    # What it depends on was made before it, so the end is the right place.
    resources.append(made)


def _find(pending: Pending, finder: Finder | None) -> str | None:
    if finder is not None:
        return finder(pending.type, pending.urn, dict(pending.inputs))
    if pending.type.startswith("kubernetes:"):
        metadata = pending.inputs.get("metadata") or {}
        name, namespace = metadata.get("name"), metadata.get("namespace")
        return f"{namespace}/{name}" if namespace and name else name
    value = pending.inputs.get(ID_FIELDS.get(pending.type, ""))
    return value if isinstance(value, str) else None
