"""The page of attacks lists every attack that is tested, under its number, and names no test that is not there."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from tests.agents.attacks import ANYWHERE, GATED, GRANTED

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "reference" / "attacks.md"
NAMED = re.compile(r"test_attack_(\d+)(?:_and_(\d+))?_")
LISTED = (
    "tests/agents/test_attacks.py", "tests/agents/test_gateway_attacks.py", "tests/agents/test_journal_attacks.py",
    "tests/agents/test_limits.py", "tests/agents/test_suites.py", "tests/agents/test_hidden_rows.py",
    "tests/agents/test_run_ids.py", "tests/agents/test_run_bounds.py", "tests/cluster/test_agent_attacks.py",
    "tests/agents/test_fifty_at_once.py", "tests/agents/test_dry_runs.py", "tests/agents/test_undoing.py",
    "tests/agents/test_leading.py", "tests/agents/test_gateway_leading.py",
    "tests/property/test_agent_runs.py", "tests/unit/agents/test_sound.py",
)  # fmt: skip
"""Whose every attack must be on the page; those of other files may be."""


def attacks(*paths: Path) -> Iterator[tuple[int, str]]:
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (found := NAMED.match(node.name)):
                yield from ((int(number), node.name) for number in found.groups() if number)


def rows() -> Iterator[tuple[int, str, set[str]]]:
    for line in PAGE.read_text(encoding="utf-8").splitlines():
        if (found := re.fullmatch(r"\| (\d+) \| .+ \| (.+) \| ([^|]+) \|", line)) is not None:
            yield int(found[1]), found[2], set(re.findall("`([^`]+)`", found[3]))


def test_the_page_lists_the_attacks_that_are_tested_and_no_other() -> None:
    there, wanted = defaultdict[int, set[str]](set), defaultdict[int, set[str]](set)
    for number, name in attacks(*(ROOT / "tests").rglob("*.py")):
        there[number].add(name)
    for number, name in attacks(*(ROOT / name for name in LISTED)):
        wanted[number].add(name)
    for attack in (*ANYWHERE, *GRANTED, *GATED):
        there[attack.number].add(str(attack))
        wanted[attack.number].add(str(attack))
    listed = {number: tests for number, _, tests in rows()}
    assert list(listed) == list(range(1, 41))
    assert {number: sorted(tests - there[number]) for number, tests in listed.items() if tests - there[number]} == {}
    assert {number: sorted(wanted[number] - tests) for number, tests in listed.items() if wanted[number] - tests} == {}


def test_what_is_not_tested_is_not_said_to_be_denied() -> None:
    assert all((result == "not tested") == (not tests) for _, result, tests in rows())


def test_the_summary_counts_each_attack_once() -> None:
    summary = re.findall(r"^\| (.+) \| (\d+) \| ([\d, ]*)\|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    held = {who: [int(number) for number in re.findall(r"\d+", numbers)] for who, _, numbers in summary}
    assert {who: int(count) for who, count, _ in summary} == {who: len(numbers) for who, numbers in held.items()}
    assert sorted(number for numbers in held.values() for number in numbers) == list(range(1, 41))
    assert held["not tested"] == [number for number, result, _ in rows() if result == "not tested"]
    assert all(result.count("not held") == 0 or number in held["in part"] for number, result, _ in rows())
