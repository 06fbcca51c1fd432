"""What every kind is made of: one model base, Kubernetes metadata, references, and the Resource that carries them.

Unknown fields are ignored, because an operator one release behind must still read what a newer schema stored.
Attributes are snake_case in Python and camelCase on the wire; objects are frozen, since what was read is a fact.
"""

from __future__ import annotations

from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic.alias_generators import to_camel

from paybill.api.failures import Invalid
from paybill.api.fields import KeyName, Name, Revision, Time
from paybill.api.rules import NAME_RULES, ruled

GROUP = "paybill.dev"
AGENTS_GROUP = "agents.paybill.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"


class ApiModel(BaseModel):
    """A frozen value of the API."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        regex_engine="rust-regex",
    )

    def wire(self) -> dict[str, Any]:
        """The value as JSON on its way to the API server: camelCase, absent instead of null."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class NameReference(ApiModel):
    """Names a cluster-scoped object of this API."""

    name: Name
    """The object's metadata.name."""


class PlanReference(ApiModel):
    """Names a Plan, and one revision of it where that is wanted."""

    name: Name
    """The Plan's metadata.name."""
    revision: Revision | None = None
    """Pins one revision of the Plan's content; absent: always the newest."""


class SecretReference(ApiModel):
    """Names a Secret in the operator's own namespace; no other namespace can be named."""

    name: Name
    """The Secret's metadata.name."""


class SecretKeyReference(ApiModel):
    """Names one key of a Secret in the operator's own namespace; no other namespace can be named."""

    name: Name
    """The Secret's metadata.name."""
    key: KeyName
    """The key inside the Secret."""


class ClaimReference(ApiModel):
    """The object a claim is on: by name, and by UID so that a namesake inherits nothing."""

    name: str
    """The object's metadata.name."""
    uid: str
    """The object's metadata.uid."""


class ObjectMeta(ApiModel):
    """The part of Kubernetes metadata that Paybill reads."""

    name: str
    namespace: str = ""
    uid: str = ""
    generation: int = 0
    resource_version: str = ""
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    annotations: dict[str, str] = Field(default_factory=dict)
    finalizers: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """What tells it from all others of its kind: its name, behind its namespace where it has one."""
        return keyed(self.namespace, self.name)


def keyed(namespace: str, name: str) -> str:
    """The key of an object: ``name``, or ``namespace/name``."""
    return f"{namespace}/{name}" if namespace else name


class Column(ApiModel):
    """One column of ``kubectl get``; ``path`` is a JSON path below the object."""

    name: str
    path: str
    type: str = "string"
    description: str = ""
    priority: int = 0


AGE = Column(name="Age", path=".metadata.creationTimestamp", type="date")
READY = Column(
    name="Ready",
    path=".status.conditions[?(@.type=='Ready')].status",
    description="Whether what the object's phase calls for is in place",
)
REASON = Column(
    name="Reason",
    path=".status.conditions[?(@.type=='Ready')].reason",
    description="Why it is ready or not",
    priority=1,
)


class Resource(ApiModel):
    """One object of a kind; the class variables are what the CRD says beside its schema."""

    model_config = ruled(*NAME_RULES)

    group: ClassVar[str] = GROUP
    version: ClassVar[str] = VERSION
    api_version: ClassVar[str] = API_VERSION
    kind: ClassVar[str]
    plural: ClassVar[str]
    singular: ClassVar[str]
    short_names: ClassVar[tuple[str, ...]] = ()
    scope: ClassVar[str] = "Cluster"
    categories: ClassVar[tuple[str, ...]] = ("paybill",)
    columns: ClassVar[tuple[Column, ...]] = ()
    selectable_fields: ClassVar[tuple[str, ...]] = ()

    metadata: ObjectMeta

    @model_validator(mode="before")
    @classmethod
    def _of_this_kind(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("kind", cls.kind) != cls.kind:
            raise ValueError(f"this is a {value['kind']}, not a {cls.kind}")
        return value

    @classmethod
    def read(cls, obj: dict[str, Any]) -> Self:
        """The object as the API server returned it; raises ``Invalid`` (``InvalidObject``) naming each bad field."""
        try:
            return cls.model_validate(obj)
        except ValidationError as error:
            name = obj.get("metadata", {}).get("name", "without a name")
            found = (f"{'.'.join(map(str, each['loc'])) or 'object'}: {each['msg']}" for each in error.errors())
            raise Invalid("InvalidObject", f"{cls.kind} {name}: {'; '.join(found)}") from error

    def wire(self) -> dict[str, Any]:
        """The whole object as JSON on its way to the API server: metadata and spec as written, without defaults."""
        written = self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
        whole = {**super().wire(), "metadata": written["metadata"], "spec": written["spec"]}
        return {"apiVersion": self.api_version, "kind": self.kind, **whole}
