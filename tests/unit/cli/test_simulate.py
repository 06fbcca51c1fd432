"""``paybill simulate``: the sample scenarios come out as they say, and a script that makes no sense is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from paybill.cli.simulate import simulate

SAMPLES = sorted(Path("docs/scenarios").glob("*.yaml"))
SCRIPT = """
start: "2027-03-01T00:00:00Z"
until: "2027-06-01T00:00:00Z"
plans:
  team:
    isolation: {model: Pooled, compute: Namespace, database: Rows}
    trialDays: 14
    payment: {graceDays: 2, endAfterDays: 4, retainDays: 5, archiveDays: 6}
tenants:
  - {name: acme, plan: team}
"""


def played(tmp_path: Path, text: str, *options: str) -> tuple[int, str]:
    path = tmp_path / "scenario.yaml"
    path.write_text(text)
    result = CliRunner().invoke(simulate, [str(path), *options])
    return result.exit_code, result.output


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_comes_out_as_it_says(sample):
    result = CliRunner().invoke(simulate, [str(sample)])
    assert result.exit_code == 0, result.output


def test_a_trial_that_nobody_pays_for_goes_down_the_whole_ladder(tmp_path):
    code, output = played(tmp_path, SCRIPT, "--output", "json")
    assert code == 0
    lines = [(one["time"], one["kind"], one["phase"]) for one in json.loads(output)["happenings"]]
    assert lines == [
        ("2027-03-01T00:00:00Z", "Phase", "Trialing"),
        ("2027-03-01T00:02:00Z", "Ready", "Trialing"),
        ("2027-03-15T00:02:00Z", "Phase", "PastDue"),
        ("2027-03-17T00:02:00Z", "Phase", "Suspended"),
        ("2027-03-17T00:02:02Z", "Stopped", "Suspended"),
        ("2027-03-19T00:02:00Z", "Phase", "Ended"),
        ("2027-03-19T00:02:00Z", "Noticed", "Ended"),
        ("2027-03-24T00:12:00Z", "BackedUp", "Ended"),
        ("2027-03-24T00:12:00Z", "Archived", "Ended"),
        ("2027-03-24T00:12:00Z", "Phase", "Archived"),
        ("2027-03-30T00:12:00Z", "Deleted", "Archived"),
        ("2027-03-30T00:12:00Z", "Phase", "Deleted"),
    ]


def test_an_operator_that_is_down_skips_suspension_but_nothing_that_destroys(tmp_path):
    down = 'events: [{at: "2027-03-10T00:00:00Z", operatorDownUntil: "2027-05-01T00:00:00Z"}]'
    _, output = played(tmp_path, SCRIPT + down, "--output", "json")
    lines = [(one["time"][:10], one["kind"], one["phase"]) for one in json.loads(output)["happenings"]]
    assert lines[2:] == [
        ("2027-05-01", "Phase", "Ended"),
        ("2027-05-01", "Stopped", "Ended"),
        ("2027-05-01", "Noticed", "Ended"),
        ("2027-05-06", "BackedUp", "Ended"),
        ("2027-05-06", "Archived", "Ended"),
        ("2027-05-06", "Phase", "Archived"),
        ("2027-05-12", "Deleted", "Archived"),
        ("2027-05-12", "Phase", "Deleted"),
    ]


def test_a_provider_that_is_away_changes_nothing(tmp_path):
    events = """
events:
  - {at: "2027-03-05T00:00:00Z", tenant: acme, says: Active}
  - {at: "2027-03-06T00:00:00Z", tenant: acme, providerAwayUntil: "2027-05-01T00:00:00Z"}
  - {at: "2027-03-07T00:00:00Z", tenant: acme, says: PastDue}
expect:
  - {at: "2027-04-30T00:00:00Z", tenant: acme, phase: Active}
"""
    code, output = played(tmp_path, SCRIPT + events)
    assert code == 0, output


def test_a_hold_keeps_the_data_and_payment_lifts_it_not(tmp_path):
    events = """
events:
  - {at: "2027-03-20T00:00:00Z", tenant: acme, hold: {name: legal, blocks: Access, reason: litigation}}
  - {at: "2027-05-01T00:00:00Z", tenant: acme, paidUntilTime: "2028-01-01T00:00:00Z"}
  - {at: "2027-05-05T00:00:00Z", tenant: acme, lift: legal}
expect:
  - {at: "2027-04-20T00:00:00Z", tenant: acme, phase: Ended}
  - {at: "2027-05-02T00:00:00Z", tenant: acme, phase: Suspended}
  - {at: "2027-05-05T00:00:00Z", tenant: acme, phase: Active}
"""
    code, output = played(tmp_path, SCRIPT + events)
    assert code == 0, output
    assert "hold legal: litigation" in output


def test_what_does_not_come_about_as_expected_is_said_and_fails(tmp_path):
    code, output = played(tmp_path, SCRIPT + 'expect: [{at: "2027-03-16T00:00:00Z", tenant: acme, phase: Suspended}]')
    assert code == 1
    assert "Not as expected: acme is PastDue at 2027-03-16T00:00:00Z, not Suspended" in output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(SCRIPT.replace("acme", "acme, planet: x"), "planet", id="a word that nobody knows"),
        pytest.param(SCRIPT.replace("plan: team", "plan: teem"), "plans has no teem", id="another Plan"),
        pytest.param(SCRIPT + 'events: [{at: "2027-03-02T00:00:00Z"}]', "something that happens", id="an empty event"),
        pytest.param(
            SCRIPT + 'events: [{at: "2027-03-02T00:00:00Z", tenant: acmee, halt: true}]', "acmee", id="another tenant"
        ),
        pytest.param(SCRIPT + 'until: "2027-03-02"', "until", id="a moment without a zone"),
        pytest.param("start: [", "is not YAML", id="no YAML"),
        pytest.param("", "the scenario", id="nothing"),
    ],
)
def test_a_script_that_makes_no_sense_is_refused_with_its_place(tmp_path, text, words):
    code, output = played(tmp_path, text)
    assert code == 1
    assert words in output


def test_a_file_that_is_not_there_is_said(tmp_path):
    result = CliRunner().invoke(simulate, [str(tmp_path / "none.yaml"), "--output", "json"])
    assert result.exit_code == 1
    assert json.loads(result.output)["error"]["reason"] == "NotFound"
