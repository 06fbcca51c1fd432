"""Draws from strategies without a test around them: the same seed gives the same values, in the same order.

Hypothesis also looks at the constants of whatever modules are loaded, and does not bear that another thread draws from
``random`` meanwhile. So what a test throws is drawn in a process of its own, in which nothing else runs: a seed is then
enough to do it again.
"""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

T = TypeVar("T")

VARIABLE = "PAYBILL_FUZZ_SEED"
ROOT = Path(__file__).parents[2]


def numbers(*usual: int) -> tuple[int, ...]:
    """The seeds of a run: the usual ones, or the one that the environment asks for."""
    asked = os.environ.get(VARIABLE)
    return (int(asked),) if asked else usual


def drawn(strategy: st.SearchStrategy[T], number: int, count: int) -> list[T]:
    """``count`` values (fewer where the strategy has no more)."""
    found: list[T] = []

    @seed(number)
    @settings(
        max_examples=count,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def take(value: T) -> None:
        found.append(value)

    take()
    return found


@functools.cache
def apart(what: str, number: int, count: int) -> Any:
    """What ``python -m tests.fuzz.material`` draws; do not change it, others get the same."""
    command = [sys.executable, "-m", "tests.fuzz.material", what, str(number), str(count)]
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'operator'}{os.pathsep}{ROOT}", "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
