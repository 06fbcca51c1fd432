"""Quantities: as kube-apiserver 1.36.3 answered when a ResourceQuota was written with them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from paybill.api import quantity
from paybill.api.failures import Invalid

ANSWERED = [
    ("0", "0"), ("0Gi", "0"), ("0m", "0"), ("-0", "0"), ("1", "1"), ("1000", "1k"), ("1000m", "1"), ("1500m", "1500m"),
    ("1024Mi", "1Gi"), ("2048Mi", "2Gi"), ("2000Mi", "2000Mi"), ("1.5Gi", "1536Mi"), ("3.0Gi", "3Gi"), ("50Gi", "50Gi"),
    ("1Ki", "1Ki"), ("1.5Ki", "1536"), ("1536Ki", "1536Ki"), ("1000000Ki", "1000000Ki"), ("1023Ki", "1023Ki"),
    ("1023.5Ki", "1048064"), ("512", "512"), ("0.5Ki", "512"), ("0.1Ki", "102400m"), ("1.1Ki", "1126400m"),
    ("0.1Gi", "107374182400m"), ("0.000001Ki", "2m"), ("0.5", "500m"), (".5", "500m"), ("1.1", "1100m"),
    ("1.50", "1500m"),
    ("1.0", "1"), ("100m", "100m"), ("1.9999999999", "2"), ("1.23456789123", "1235m"), ("0.0000000001", "1m"),
    ("1n", "1m"), ("1500n", "1m"), ("1u", "1m"), ("123456789.123456789", "123456789124m"), ("1k", "1k"),
    ("1000k", "1M"),
    ("1M", "1M"), ("1.5M", "1500k"), ("1E", "1E"), ("1.5E", "1500P"), ("1500", "1500"), ("1536", "1536"),
    ("9223372036854775807", "9223372036854775807"), ("8Ei", "9223372036854775807"), ("16Ei", "9223372036854775807"),
    ("12345678901234567890Ki", "9223372036854775807"), ("7.9Ei", "9108079886394091110400m"), ("1e3", "1e3"),
    ("1.5e3", "1500"), ("12e4", "120e3"), ("1e1", "10"), ("1E2", "100"), ("100e1", "1e3"), ("100e-1", "10"),
    ("5e-3", "5e-3"), ("5E-1", "500e-3"), ("1e-3", "1e-3"), ("1e-10", "1e-3"), ("1e-99", "1e-3"),
]  # fmt: skip

UNTOUCHED_BY_THE_SERVER = [
    ("1E3", "1e3"),
    ("5.", "5"),
    ("+5", "5"),
    ("00010", "10"),
    ("12.5e1", "125"),
    ("1e+3", "1e3"),
    ("1e0", "1"),
]
"""The server repeats these as they came; their canonical form comes back unchanged, which is what matters."""


@pytest.mark.parametrize(("written", "answered"), ANSWERED)
def test_canonical_is_what_the_api_server_answers(written: str, answered: str) -> None:
    assert quantity.canonical(written) == answered


@pytest.mark.parametrize(("written", "canonical"), UNTOUCHED_BY_THE_SERVER)
def test_odd_notations_become_plain_ones(written: str, canonical: str) -> None:
    assert quantity.canonical(written) == canonical


@pytest.mark.parametrize("written", [each for row in ANSWERED + UNTOUCHED_BY_THE_SERVER for each in row])
def test_what_is_canonical_stays(written: str) -> None:
    once = quantity.canonical(written)
    assert quantity.canonical(once) == once


@pytest.mark.parametrize(
    ("written", "worth", "whole"),
    [
        ("1.5Gi", Decimal(1610612736), 1610612736),
        ("500m", Decimal("0.5"), 1),
        ("50G", Decimal(50_000_000_000), 50_000_000_000),
        ("1e3", Decimal(1000), 1000),
        ("0.1Ki", Decimal("102.4"), 103),
        ("-1500m", Decimal("-1.5"), -1),
        (40, Decimal(40), 40),
    ],
)
def test_worth(written: str | int, worth: Decimal, whole: int) -> None:
    assert quantity.parse(written) == worth
    assert quantity.whole(written) == whole


REFUSED = [
    "", " ", "4 cores", "8GB", "8gi", "8Gib", "Gi", "5d", "1e", "1.2.3", "1 Gi", "٣", "--1", "0x10", "1_000", "1mi",
    "NaN", "Infinity", "1e999", "1\n", ".", "+", "'; DROP TABLE plans; --", "1" * 33, True,
]  # fmt: skip


@pytest.mark.parametrize("written", REFUSED, ids=repr)
def test_what_is_no_quantity_is_refused_with_the_value_and_what_to_write(written: str) -> None:
    with pytest.raises(Invalid) as refusal:
        quantity.parse(written)
    assert refusal.value.reason == "InvalidQuantity"
    assert str(written)[:80] in refusal.value.message or repr(written)[1:-1] in refusal.value.message
    assert '"8Gi"' in refusal.value.message


@pytest.mark.parametrize("written", ["9223372036854775808", "1000E", "1e30", "1e99", "-1000E"])
def test_what_kubernetes_cannot_count_is_refused(written: str) -> None:
    with pytest.raises(Invalid, match="more than Kubernetes can count"):
        quantity.canonical(written)
