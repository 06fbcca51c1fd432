"""Which samples are applied, when, and with which moments in them."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from paybill.api.failures import Invalid
from paybill.api.kinds import BY_KIND
from paybill.local.samples import APPLIED, read, to_apply

DEMO = Path(__file__).parents[3] / "manifests" / "demo"
NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def subscription(paid_until="{{now+1d}}", **metadata):
    return {
        "apiVersion": "paybill.dev/v1alpha1",
        "kind": "Subscription",
        "metadata": {"name": "acme", **metadata},
        "spec": {
            "tenantRef": {"name": "acme"},
            "planRef": {"name": "team"},
            "payment": {"provider": "Manual", "paidUntilTime": paid_until},
        },
    }


def write(path, *documents):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n---\n".join(map(json.dumps, documents)))
    return path


def only(path):
    (step,) = read(path)
    (sample,) = step.samples
    return step, sample


def applied(path, live=None, now=NOW):
    return to_apply(*only(path), live, now)


def paid_until(document):
    return document["spec"]["payment"]["paidUntilTime"]


@pytest.mark.parametrize(
    ("token", "moment"),
    [
        ("{{now+1d}}", "2026-03-02T12:00:00Z"),
        ("{{now-20d}}", "2026-02-09T12:00:00Z"),
        ("{{now-3h}}", "2026-03-01T09:00:00Z"),
        ("{{now+30m}}", "2026-03-01T12:30:00Z"),
    ],
)
def test_a_token_becomes_that_moment(tmp_path, token, moment):
    assert paid_until(applied(write(tmp_path / "a.yaml", subscription(token)))) == moment


@pytest.mark.parametrize("text", ["{{now}}", "{{now-3w}}", "{{ now-3d }}", "since {{now-3d}}", "2099-01-01T00:00:00Z"])
def test_what_is_not_exactly_a_token_stays_as_it_is(tmp_path, text):
    assert paid_until(applied(write(tmp_path / "a.yaml", subscription(text)))) == text


def test_a_time_that_yaml_reads_as_one_goes_out_as_it_was_written(tmp_path):
    file = tmp_path / "a.yaml"
    file.write_text(json.dumps(subscription("TIME")).replace('"TIME"', "2099-01-01T00:00:00Z"))
    assert paid_until(applied(file)) == "2099-01-01T00:00:00Z"


def test_what_a_step_applied_is_not_applied_again_whatever_the_clock_says(tmp_path):
    file = write(tmp_path / "a.yaml", subscription())
    live = applied(file)
    assert applied(file, live, NOW.replace(year=2027)) is None


def test_an_edited_file_is_applied_again(tmp_path):
    live = applied(write(tmp_path / "a.yaml", subscription("{{now+1d}}")))
    assert paid_until(applied(write(tmp_path / "a.yaml", subscription("{{now+2d}}")), live)) == "2026-03-03T12:00:00Z"


def test_an_object_that_somebody_else_made_is_taken_over(tmp_path):
    assert applied(write(tmp_path / "a.yaml", subscription()), subscription("2030-01-01T00:00:00Z")) is not None


def test_steps_are_the_numbered_entries_in_order_and_a_later_one_adds_its_mark(tmp_path):
    write(tmp_path / "20-unpaid.yaml", subscription("{{now-20d}}"))
    write(tmp_path / "10-paid" / "a.yaml", subscription("{{now+1d}}"))
    (tmp_path / "README.md").write_text("not a step")
    first, second = read(tmp_path)
    live = to_apply(first, first.samples[0], None, NOW)
    live = to_apply(second, second.samples[0], live, NOW)
    assert [first.title, second.title] == ["10-paid", "20-unpaid"]
    assert set(live["metadata"]["annotations"]) == {APPLIED + "10", APPLIED + "20"}
    assert [to_apply(step, step.samples[0], live, NOW) for step in (first, second)] == [None, None]


def test_when_an_early_step_is_edited_the_later_ones_follow_it(tmp_path):
    write(tmp_path / "10.yaml", subscription("{{now+1d}}"))
    write(tmp_path / "20.yaml", subscription("{{now-20d}}"))
    live = None
    for step in read(tmp_path):
        live = to_apply(step, step.samples[0], live, NOW)
    write(tmp_path / "10.yaml", subscription("{{now+2d}}"))
    first, second = read(tmp_path)
    live = to_apply(first, first.samples[0], live, NOW)
    assert to_apply(second, second.samples[0], live, NOW) is not None


def test_annotations_of_the_file_are_kept(tmp_path):
    document = applied(write(tmp_path / "a.yaml", subscription(annotations={"team": "x"})))
    assert document["metadata"]["annotations"]["team"] == "x"


def test_the_demo_reaches_the_examples_it_links_in_the_order_that_needs_no_waiting():
    first, second = read(DEMO)
    kinds = [sample.kind for sample in first.samples]
    assert kinds == sorted(kinds, key=list(BY_KIND).index)
    tenants = {sample.name for sample in first.samples if sample.kind == "Tenant"}
    assert tenants == {"acme", "globex", "hooli", "initech", "stark", "umbrella", "wayne"}
    assert [(sample.kind, sample.name, sample.expected_phase) for sample in second.samples] == [
        ("Subscription", "umbrella", "Suspended")
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("kind: [", "cannot be read"),
        ("kind: Pod\nmetadata: {name: x}", "every object needs a kind"),
        ("kind: Tenant\nmetadata: {}", "metadata.name"),
        ("just text", "every object needs a kind"),
        ("# nothing\n", "has no"),
    ],
)
def test_a_file_that_is_no_sample_is_named(tmp_path, content, told):
    (tmp_path / "odd.yaml").write_text(content)
    with pytest.raises(Invalid, match=told) as failure:
        read(tmp_path)
    assert str(tmp_path) in failure.value.message
