"""Reads the samples that ``paybill up --samples`` applies: which steps, which objects, and what is left to apply.

Entries of the folder that begin with a number are steps: each is applied once the one before is as it should be. A
value that is exactly ``{{now-3d}}`` (or +, and h or m) becomes that moment, so that a demo has a tenant past due on
every day of the year. What was applied stays as it is at the next ``up``, whatever the clock says or a user changed:
an annotation per step remembers what was applied.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from paybill.api.failures import Invalid
from paybill.api.kinds import BY_KIND

EXPECTED = "samples.paybill.dev/expected-phase"
"""On a sample Subscription: the phase it is to come to in its step."""
APPLIED = "samples.paybill.dev/step-"
"""With the number of a step: the digest of what that step applied to this object."""

_TOKEN = re.compile(r"\{\{now([+-][0-9]{1,5})([dhm])\}\}")
_UNITS = {"d": "days", "h": "hours", "m": "minutes"}
_STEP = re.compile(r"([0-9]{1,9})[-_.]")
_ORDER = {kind: place for place, kind in enumerate(BY_KIND)}


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One object as its file has it, tokens and all."""

    document: dict[str, Any]

    @property
    def kind(self) -> str:
        """Plan, Tenant, Subscription or Cell."""
        return str(self.document["kind"])

    @property
    def name(self) -> str:
        """The object's name."""
        return str(self.document["metadata"]["name"])

    @property
    def expected_phase(self) -> str | None:
        """The phase that a Subscription is to come to, where its file says one."""
        annotations: Mapping[str, str] = self.document["metadata"].get("annotations") or {}
        return annotations.get(EXPECTED)

    @property
    def digest(self) -> str:
        """Of the file's content, so the same at every moment."""
        return hashlib.sha256(json.dumps(self.document, sort_keys=True, default=str).encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True)
class Step:
    """The objects that are applied together, in the order that needs no waiting."""

    number: str
    title: str
    samples: tuple[Sample, ...]


def read(path: Path) -> tuple[Step, ...]:
    """The steps of a folder or of one file, in order; raises Invalid naming what cannot be read."""
    entries = sorted(path.iterdir()) if path.is_dir() else [path]
    numbered = [entry for entry in entries if path.is_dir() and _STEP.match(entry.name)]
    if not numbered:
        steps = [Step(number="0", title=path.name, samples=_samples(path))]
    else:
        steps = [
            Step(number=entry.name[: _digits(entry)], title=entry.stem, samples=_samples(entry)) for entry in numbered
        ]
    found = tuple(step for step in steps if step.samples)
    if not found:
        raise Invalid("NoSamples", f"{path} has no *.yaml file with objects of Paybill: name a folder that has some")
    return found


def to_apply(step: Step, sample: Sample, live: Mapping[str, Any] | None, now: datetime) -> dict[str, Any] | None:
    """The object to apply in a step, or None when the step was applied to ``live`` before.

    The annotations of later steps are left out, which takes them off: what an edited early step applies anew, the
    later ones follow.
    """
    annotations: Mapping[str, str] = ((live or {}).get("metadata") or {}).get("annotations") or {}
    mine = APPLIED + step.number
    if annotations.get(mine) == sample.digest:
        return None
    earlier = {
        name: value
        for name, value in annotations.items()
        if name.startswith(APPLIED) and int(name.removeprefix(APPLIED)) < int(step.number)
    }
    document: dict[str, Any] = _with_moments(sample.document, now)
    metadata = document["metadata"]
    own = metadata.get("annotations") or {}
    return {**document, "metadata": {**metadata, "annotations": {**own, **earlier, mine: sample.digest}}}


def _digits(entry: Path) -> int:
    match = _STEP.match(entry.name)
    return len(match[1]) if match else 0


def _samples(path: Path) -> tuple[Sample, ...]:
    found = [sample for file in _files(path) for sample in _of_file(file)]
    return tuple(sorted(found, key=lambda one: (_ORDER[one.kind], one.name)))


def _files(path: Path) -> list[Path]:
    """Below a folder all, through links as well: examples that stand elsewhere are linked, not copied."""
    if not path.is_dir():
        return [path]
    entries = sorted(path.iterdir())
    return [file for entry in entries if entry.is_dir() or entry.suffix == ".yaml" for file in _files(entry)]


def _of_file(file: Path) -> list[Sample]:
    try:
        documents = [one for one in yaml.safe_load_all(file.read_text(encoding="utf-8")) if one is not None]
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise Invalid("UnreadableSample", f"{file} cannot be read: {' '.join(str(error).split())}") from error
    for document in documents:
        match document:
            case {"kind": str(kind), "metadata": {"name": str()}} if kind in BY_KIND:
                continue
            case _:
                kinds = ", ".join(BY_KIND)
                raise Invalid("NotASample", f"{file}: every object needs a kind ({kinds}) and metadata.name")
    return [Sample(document=document) for document in documents]


def _with_moments(value: Any, now: datetime) -> Any:
    match value:
        case dict():
            return {name: _with_moments(each, now) for name, each in value.items()}
        case list():
            return [_with_moments(each, now) for each in value]
        case datetime():
            # YAML reads an unquoted time as one; the API server wants it as it was written.
            return value.strftime("%Y-%m-%dT%H:%M:%SZ")
        case str() if match := _TOKEN.fullmatch(value):
            moment = now + timedelta(**{_UNITS[match[2]]: int(match[1])})
            return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        case _:
            return value
