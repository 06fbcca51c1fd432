"""What the pods that Paybill makes have in common: how they are confined, and what an installation may say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeVar

from pydantic import Field, ValidationError

from paybill.api.base import ApiModel
from paybill.api.failures import Invalid

USER: Final = 65532
CONFINED: Final[Mapping[str, Any]] = {
    "allowPrivilegeEscalation": False,
    "privileged": False,
    "readOnlyRootFilesystem": True,
    "runAsNonRoot": True,
    "capabilities": {"drop": ["ALL"]},
}
"""A container's security context that the strictest Pod Security takes, and no place to write to but its volumes."""


class Pods(ApiModel):
    """What some pods of ours have in common, in the words of a pod's own fields."""

    image: str = Field(min_length=1)
    """The image."""
    image_pull_policy: str = "IfNotPresent"
    """When the image is fetched."""
    image_pull_secrets: tuple[dict[str, Any], ...] = ()
    """What it is fetched with."""
    service_account_name: str
    """The account that they have."""
    resources: dict[str, Any]
    """What each asks for and may use."""
    priority_class_name: str | None = None
    """Their priority."""
    node_selector: dict[str, str] = Field(default_factory=dict)
    """Where they may run."""
    tolerations: tuple[dict[str, Any], ...] = ()
    """Where they may run all the same."""
    affinity: dict[str, Any] = Field(default_factory=dict)
    """Where they would rather run."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Labels of theirs; none of ours."""


P = TypeVar("P", bound=Pods)


def read(model: type[P], text: str, setting: str) -> P:
    """What ``setting`` says of pods, from JSON; raises Invalid."""
    try:
        return model.model_validate_json(text)
    except ValidationError as error:
        where = "; ".join(f"{'.'.join(map(str, one['loc'])) or 'it'}: {one['msg']}" for one in error.errors())
        raise Invalid("InvalidSetting", f"{setting} says no pod: {where}") from None


def spec(pods: Pods, grace: int, own: Mapping[str, Any]) -> dict[str, Any]:
    """The spec of a pod that has ``grace`` seconds to end; ``own``: what not all have, such as its containers."""
    whole = {
        "serviceAccountName": pods.service_account_name,
        # Not the token that is mounted unasked: who needs one says so among its volumes.
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            # The files of a Secret are root's; their group is what lets us read them.
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        **own,
        "imagePullSecrets": list(pods.image_pull_secrets),
        "priorityClassName": pods.priority_class_name,
        "nodeSelector": dict(pods.node_selector),
        "tolerations": list(pods.tolerations),
        "affinity": dict(pods.affinity),
    }
    return {field: value for field, value in whole.items() if value not in (None, [], {})}
