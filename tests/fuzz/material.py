"""Prints what is thrown, as JSON: ``python -m tests.fuzz.material (steps|values) SEED COUNT``.

Values are objects and statuses, right and odd ones, and specs, which should be right; COUNT of each for every kind.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from typing import Any

from paybill.api.kinds import KINDS
from tests.fuzz import shapes
from tests.fuzz.drawing import drawn
from tests.fuzz.steps import sequence


def material(what: str, seed: int, count: int) -> Any:
    """What the command prints."""
    if what == "steps":
        return [dataclasses.asdict(step) for step in sequence(seed, count)]
    draw = {
        "objects": shapes.objects,
        "statuses": shapes.statuses,
        "specs": lambda kind: shapes.specs(kind.kind),
    }
    return {name: {kind.kind: drawn(make(kind), seed, count) for kind in KINDS} for name, make in draw.items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(material(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))
