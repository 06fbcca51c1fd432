"""``--update-golden`` writes what the builders make now into tests/golden; read the difference before you commit it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

GOLDEN = Path(__file__).parents[2] / "golden"

Check = Callable[[str, list[dict[str, Any]]], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write tests/golden anew (run tests/unit/desired)")


class _Whole(yaml.SafeDumper):
    """Every object in full: a reader should not have to follow aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Check:
    """Compares objects with the golden file of that name."""

    def check(name: str, objects: list[dict[str, Any]]) -> None:
        file = GOLDEN / f"{name}.yaml"
        made = yaml.dump_all(objects, Dumper=_Whole, sort_keys=False, explicit_start=True, width=120)
        if request.config.getoption("--update-golden", default=False):
            file.write_text(made)
        assert made == file.read_text(), (
            f"{file.name} differs: run pytest tests/unit/desired --update-golden and read it"
        )

    return check
