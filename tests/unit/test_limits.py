"""The page of limits says what the code does: each figure is compared with the constant named beside it."""

from __future__ import annotations

import importlib
import re
from datetime import timedelta
from pathlib import Path

import pytest
import yaml

from paybill.breaker import Pauses

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "concepts" / "limits.md"
ROW = re.compile(r"^\| ([^|]+) \| ([\d.,]+)[^|]*\| `([\w.]+)` \|", re.MULTILINE)
ROWS = [(what, figure, named) for what, figure, named in ROW.findall(PAGE.read_text(encoding="utf-8"))]


def constant(named: str) -> float:
    """The value of ``module.NAME`` or ``module.Class.field`` below the package."""
    words = named.split(".")
    for end in range(len(words) - 1, 0, -1):
        try:
            found = importlib.import_module(".".join(["paybill", *words[:end]]))
        except ModuleNotFoundError:
            continue
        for word in words[end:]:
            found = getattr(found, word)
        return found.total_seconds() if isinstance(found, timedelta) else float(found)
    raise AssertionError(f"{named} is nowhere")


@pytest.mark.parametrize(("what", "figure", "named"), ROWS, ids=[named for _, _, named in ROWS])
def test_a_figure_is_the_one_in_the_code(what: str, figure: str, named: str) -> None:
    assert float(figure.replace(",", "")) == constant(named), what


def test_every_row_with_a_figure_names_its_constant() -> None:
    text = PAGE.read_text(encoding="utf-8")
    figures = [line for line in text.splitlines() if re.match(r"\| [^|]+ \| [\d.,]+", line)]
    assert len(figures) == len(ROWS) + 1, "all but the version of Kubernetes, which the chart says"


def test_the_version_of_kubernetes_is_the_charts() -> None:
    chart = yaml.safe_load((ROOT / "helm" / "paybill" / "Chart.yaml").read_text(encoding="utf-8"))
    found = re.search(r"^\| Kubernetes \| ([\d.]+) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert f">={found[1]}" in chart["kubeVersion"].replace(" ", "")


def test_longest_pauses_are_told_of_every_breaker() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert f"up to {Pauses.longest:.0f} s" in text
