"""How commands answer: columns, spans, moments, and failures as words or as JSON."""

import json
from datetime import UTC, datetime, timedelta, timezone

import click
import pytest
from click.testing import CliRunner

from paybill.api.failures import Blocked
from paybill.cli.output import age, columns, coming, document, fields, moment, reported, span, text_output

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


@click.command()
@text_output
def failing(output):
    with reported(output):
        raise Blocked("FullCell", "the cell is full")


def test_a_failure_is_a_message_on_standard_error_and_exit_code_1():
    done = CliRunner().invoke(failing)
    assert (done.exit_code, done.stdout, done.stderr) == (1, "", "Error: the cell is full\n")


def test_a_failure_is_one_document_on_standard_output_for_programs():
    done = CliRunner().invoke(failing, ["--output", "json"])
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"error": {"reason": "FullCell", "message": "the cell is full"}}


def test_columns_are_as_wide_as_what_is_in_them_and_what_is_missing_is_a_dash():
    assert list(columns(("A", "LONGER"), [("wide cell", None), (1, "x")])) == [
        "A           LONGER",
        "wide cell   -",
        "1           x",
    ]


def test_fields_leave_out_what_is_not_there():
    assert list(fields([("Id", "k3"), ("Namespace", "t"), ("Plan", None)])) == ["  Id:         k3", "  Namespace:  t"]


@pytest.mark.parametrize(
    ("length", "text"),
    [
        (timedelta(seconds=-5), "0s"),
        (timedelta(seconds=119), "119s"),
        (timedelta(minutes=2), "2m"),
        (timedelta(hours=3), "3h"),
        (timedelta(hours=3, minutes=5), "3h5m"),
        (timedelta(days=2, hours=4), "2d4h"),
        (timedelta(days=2), "2d"),
        (timedelta(days=73, hours=4), "73d"),
    ],
)
def test_a_span_has_at_most_two_units(length, text):
    assert span(length) == text


def test_moments_are_in_utc_with_their_distance():
    there = (NOW + timedelta(hours=2)).astimezone(timezone(timedelta(hours=5)))
    assert moment(there) == "2026-03-01T14:00:00Z"
    assert coming(there, NOW) == "2026-03-01T14:00:00Z (in 2h)"
    assert coming(NOW - timedelta(days=1), NOW) == "2026-02-28T12:00:00Z (1d ago)"
    assert (moment(None), age(None, NOW)) == (None, None)


def test_a_document_holds_moments_as_rfc_3339_and_refuses_what_json_cannot_hold():
    assert json.loads(document({"at": NOW})) == {"at": "2026-03-01T12:00:00Z"}
    with pytest.raises(TypeError):
        document({"odd": object()})
