"""What the demo of agents takes for denied, and what its keeper is asked by."""

import json

import pytest

from paybill.api.failures import Blocked
from paybill.local.agents_demo import judge, unchanged
from paybill.local.agents_gateways import Found, Place, Wanted
from paybill.local.agents_hostile import Attempt, try_all

WANTED = Wanted(
    tenant="abcd1234", namespace="paybill-system", secret="t-abcd1234-agents", audience="https://abcd1234.example",
    kubeconfig="/nowhere/kubeconfig",
)  # fmt: skip


def attempt(what, word):
    async def act():
        return word

    return Attempt(what=what, through="gateway", refused_with=("NotGranted",), act=act)


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("", "refund all (gateway): it went through"),
        ("Unavailable", "refund all (gateway): Unavailable"),  # nobody was asked: that proves nothing
    ],
)
async def test_what_goes_through_or_fails_for_another_reason_ends_the_demo(word, said):
    found = await try_all([attempt("read cards", "NotGranted"), attempt("refund all", word)])
    assert [one.denied for one in found] == [True, False]
    with pytest.raises(Blocked, match="NotDenied") as failed:
        judge(found)
    assert failed.value.message.endswith(said)
    assert "read cards" not in failed.value.message


async def test_when_everything_was_denied_nothing_is_said():
    judge(await try_all([attempt("refund all", "NotGranted")]))


@pytest.mark.parametrize(
    "after",
    [
        {1: ("refunded", "10.00"), 2: ("paid", "0.00")},
        {1: ("paid", "0.00")},
        {1: ("paid", "0.00"), 2: ("paid", "0.00"), 3: ("paid", "0.00")},
    ],
    ids=["changed", "gone", "new"],
)
def test_orders_that_are_not_as_they_were_end_the_demo(after):
    before = {1: ("paid", "0.00"), 2: ("paid", "0.00")}
    unchanged(before, dict(before))
    with pytest.raises(Blocked, match="DataChanged"):
        unchanged(before, after)


def test_a_gateways_folder_says_what_is_wanted_and_what_is_there(tmp_path):
    place = Place(tmp_path / "gateways" / "abcd1234")
    assert place.wanted is None
    place.ask(WANTED)
    assert place.wanted == WANTED
    assert place.found is None
    place.answer(Found(of=WANTED.digest, mcp=20001, metrics=20002))
    assert place.found == Found(of=WANTED.digest, mcp=20001, metrics=20002)
    assert place.found.url == "http://127.0.0.1:20001/mcp"


def test_the_files_of_an_agent_follow_its_secret(tmp_path):
    place = Place(tmp_path)
    place.mount({"support.uri": "postgresql://one", "other.uri": "postgresql://other"})
    written = (place.files / "support.uri").stat().st_ino
    place.mount({"support.uri": "postgresql://one"})
    assert [path.name for path in place.files.iterdir()] == ["support.uri"]
    assert (place.files / "support.uri").stat().st_ino == written, "what is as it should be is left alone"
    assert (place.files / "support.uri").stat().st_mode & 0o077 == 0
    place.mount({"support.uri": "postgresql://two"})
    assert (place.files / "support.uri").read_text() == "postgresql://two"
    place.mount({})
    assert not list(place.files.iterdir())


def test_what_another_version_wrote_is_nothing_that_is_wanted(tmp_path):
    place = Place(tmp_path)
    (tmp_path / "wanted.json").write_text(json.dumps({"tenant": "abcd1234", "more": 1}))
    assert place.wanted is None
