"""What of a step goes into the audit log: a hash of its inputs, the same for the same, and nothing of them in clear."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from paybill.reconcile.steps import digest

values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)),
    max_leaves=6,
)


@given(st.dictionaries(st.text(max_size=3), values, max_size=5))
def test_the_order_in_which_inputs_are_written_does_not_matter(inputs):
    assert digest(inputs) == digest(dict(reversed(inputs.items())))


@given(values, values)
def test_different_inputs_have_different_hashes(one, other):
    assert (digest(one) == digest(other)) is (canonical(one) == canonical(other))


def canonical(value: object) -> object:
    """Tells apart what JSON tells apart: to Python 1 and True are the same."""
    if isinstance(value, dict):
        return "object", sorted((key, canonical(value[key])) for key in value)
    if isinstance(value, list):
        return "list", [canonical(one) for one in value]
    return type(value).__name__, repr(value)


def test_a_hash_says_how_it_was_made_and_nothing_else():
    assert re.fullmatch("sha256:[0-9a-f]{64}", digest({"password": "hunter2"}))
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_what_json_cannot_say_is_hashed_as_text():
    assert digest({"when": datetime(2026, 1, 1, tzinfo=UTC)}) == digest({"when": "2026-01-01 00:00:00+00:00"})
