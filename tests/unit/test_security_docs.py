"""What the pages on security say of policies and of tests is so: none is missing, and none is made up."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from paybill.desired.admission import POLICIES
from paybill.desired.policy import BREAK_GLASS

ROOT = Path(__file__).parents[2]
CONCEPTS = ROOT / "docs" / "concepts"
SECURITY = (CONCEPTS / "security.md").read_text(encoding="utf-8")
THREATS = (CONCEPTS / "threat-model.md").read_text(encoding="utf-8")


def policies_listed() -> list[tuple[str, str]]:
    section = SECURITY.partition("## What the API server refuses\n")[2].partition("\n## ")[0]
    return re.findall(r"^\| `(paybill-[a-z-]+)` \|.*\| (.+) \|$", section, flags=re.MULTILINE)


def test_every_policy_is_listed_with_its_own_reason_and_none_that_is_not_there() -> None:
    assert policies_listed() == [(policy.name, policy.reason) for policy in POLICIES]


def test_the_glass_to_break_is_the_one_that_the_policies_know() -> None:
    assert f"`{BREAK_GLASS}`" in SECURITY
    assert f"--as-group={BREAK_GLASS}" in SECURITY


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(paybill-[a-z-]+)`", THREATS))))
def test_a_policy_that_the_threat_model_counts_on_exists(name: str) -> None:
    assert name in {policy.name for policy in POLICIES} | {"paybill-tenant-owner"}


@pytest.mark.parametrize("named", sorted(set(re.findall(r"`(tests/[^`]+)`", THREATS))))
def test_a_test_that_the_threat_model_names_exists(named: str) -> None:
    path, _, function = named.partition("::")
    assert (ROOT / path).exists()
    if function:
        assert f"def {function}(" in (ROOT / path).read_text(encoding="utf-8")


def test_every_advisory_has_its_test() -> None:
    """Capsule's thirteen, by their ids; two numbers of one of them are told apart in its docstring."""
    text = "".join(path.read_text() for path in sorted((ROOT / "tests" / "cluster").glob("test_advisories*.py")))
    wanted = [
        "cve_2022_46167", "cve_2023_46254", "cve_2023_48312", "cve_2024_39690", "cve_2025_55205", "cve_2026_30963",
        "ghsa_gwxr_7h77_7777", "cve_2026_22872", "cve_2026_65835", "cve_2026_65834", "ghsa_f94q_w3w8_cj67",
        "ghsa_gxjc_74v5_3vx3", "ghsa_gjw4_3v3v_rqxg",
    ]  # fmt: skip
    assert [one for one in wanted if f"def test_{one}_" not in text] == []
