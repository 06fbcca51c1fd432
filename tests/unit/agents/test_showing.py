"""Attack 25: what a person is shown before an approval cannot be made to look like something else by what is in it."""

from __future__ import annotations

import json
import unicodedata
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paybill.agents import showing
from paybill.agents.interpreter import Call


def call(**arguments: Any) -> Call:
    return Call(step="mark", uses="orders.update", arguments=arguments, digest="sha256:0", key="mark-1")


def shown(value: Any) -> str:
    (one,) = showing.arguments(call(note=value), ())
    return one.value


ATTACKS = {
    "right to left": ("pay 01\u202e5 \u202cto eve", "\u202e"),
    "an isolate": ("\u2067pay\u2069", "\u2067"),
    "an Arabic letter mark": ("1\u061c2", "\u061c"),
    "the line erased by ANSI": ("\x1b[2K\x1b[1Aamount = 1", "\x1b"),
    "a title and a link by ANSI": ("\x1b]8;;http://x\x07go", "\x07"),
    "C1's own CSI": ("\x9b2J", "\x9b"),
    "another line": ('ok"\namount = "1', "\n"),
    "the line again": ("9999\ramount = 1", "\r"),
    "backspaces": ("9999\b\b\b\b1", "\b"),
    "deletes": ("99\x7f", "\x7f"),
    "a line separator": ("a\u2028amount = 1", "\u2028"),
    "a paragraph separator": ("a\u2029amount = 1", "\u2029"),
    "nothing between": ("ad\u200bmin", "\u200b"),
    "a joiner": ("ad\u200dmin", "\u200d"),
    "a soft hyphen": ("ad\u00admin", "\u00ad"),
    "a byte order mark": ("\ufeff1", "\ufeff"),
    "a letter that is seen as nothing": ("1\u31640", "\u3164"),
    "Braille's blank": ("1\u28000", "\u2800"),
    "a space that is none": ("a\u00a0b", "\u00a0"),
    "a tag": ("\U000e0041", "\U000e0041"),
    "a variation": ("1\ufe0f", "\ufe0f"),
    "a variation of a letter": ("a\ufe0f", "\ufe0f"),
    "another variation of a letter": ("a\U000e0101", "\U000e0101"),
    "a box around": ("1\u20de", "\u20de"),
    "an overlay without a letter": ("1\u0338", "\u0338"),
    "private use": ("\ue000", "\ue000"),
    "no character at all": ("\U0010ffff", "\U0010ffff"),
    "half of one": ("\ud800", "\ud800"),
    "NUL": ("a\x00b", "\x00"),
}


@pytest.mark.parametrize(("value", "char"), ATTACKS.values(), ids=ATTACKS)
def test_attack_25_what_is_not_seen_as_itself_is_written_out(value: str, char: str) -> None:
    assert char in value
    assert char not in shown(value)
    assert char not in showing.word(value), "nor in a name"
    assert char not in shown({value: [value]}), "nor inside of what is nested"


@pytest.mark.parametrize("plain", ["refund_requested", "Größe 数 ş", "e\u0301t\u00e9", "a@b.example, 5 €", "नमस्ते"])
def test_what_is_seen_as_itself_stays(plain: str) -> None:
    assert shown(plain) == f'"{plain}"'


def test_attack_25_no_value_can_imitate_the_writing_out_of_another() -> None:
    assert shown("\u202e") == '"\\u{202e}"'
    assert shown("\\u{202e}") == '"\\\\u{202e}"'
    assert showing.word("\\u{202e}") != showing.word("\u202e")


def test_attack_25_a_text_is_told_from_the_number_it_looks_like() -> None:
    assert [shown(value) for value in (1, "1", True, "true", None, "null")] == [
        "1", '"1"', "true", '"true"', "null", '"null"',
    ]  # fmt: skip


def test_attack_25_ten_thousand_characters_do_not_hide_the_amount() -> None:
    noise, amount = showing.arguments(call(z_amount=9000, note="x" * 10_000), ())
    assert len(noise.value) == showing.LONGEST
    assert noise.characters == 10_002
    assert (amount.value, amount.characters) == ("9000", None)
    (marked,) = showing.arguments(call(note="\u202e" * 10_000), ())
    assert len(marked.value) <= showing.LONGEST
    assert marked.characters == 10_002


def test_attack_25_marks_do_not_pile_up_into_other_lines() -> None:
    assert shown("a" + "\u0301" * 40).count("\u0301") == showing.MOST_MARKS


def test_what_may_be_a_strangers_text_is_said_to_be() -> None:
    one, other = showing.arguments(call(a="1", b="2"), {"b"})
    assert (one.untrusted, other.untrusted) == (False, True)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(st.characters()),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    )
)
def test_attack_25_whatever_the_value_it_is_one_line_of_visible_characters(value: Any) -> None:
    text = shown(value)
    assert len(text) <= showing.LONGEST
    assert all(char == " " or unicodedata.category(char)[0] not in "CZ" for char in text)


@given(st.text(st.characters()), st.text(st.characters()))
def test_attack_25_two_values_are_shown_alike_only_if_they_are_or_both_are_cut(one: str, other: str) -> None:
    first, second = showing.arguments(call(a=one, b=other), ())
    alike = (first.value, first.characters) == (second.value, second.characters)
    assert not alike or first.characters is not None or json.dumps(one) == json.dumps(other)
