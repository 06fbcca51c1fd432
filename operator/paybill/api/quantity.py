"""Kubernetes quantities ("500m", "8Gi", "1e3"): what they are worth, and how the API server would write them.

A quota counts as enforced only when ``status.hard`` shows what ``spec.hard`` asked for, and the server rewrites values
on the way, so a comparison of text needs the server's form. Rules are those of k8s.io/apimachinery/pkg/api/resource
for a ResourceList: nothing smaller than 1m (rounded away from zero), the greatest suffix that leaves a whole number,
binary notation only for whole numbers from 1024. Above 2^63-1 the server caps binary notation; for "1000E" it prints
nonsense (Kubernetes 1.36 answers "1"), so what is beyond in decimal notation is refused here.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, ROUND_UP, Context, Decimal
from typing import Literal

from paybill.api.failures import Invalid

DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
LARGEST = 2**63 - 1
LONGEST = 32
EXAMPLE = 'write a number with an optional suffix, such as "500m", "4", "8Gi" or "50G"'

Notation = Literal["binary", "decimal", "exponent"]

# Exact for anything that LONGEST characters can say.
_EXACT = Context(prec=200)
_MILLI = Decimal("0.001")
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))"
    r"(?:(?P<binary>[KMGTPE]i)|(?P<decimal>[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,2}))?",
    re.ASCII,
)


def parse(value: str | int) -> Decimal:
    """The exact worth of a quantity, in its base unit (cores, bytes, pieces).

    Raises ``Invalid`` (reason ``InvalidQuantity``), naming the value, for what Kubernetes would refuse or cap.
    """
    return _read(value)[0]


def whole(value: str | int) -> int:
    """The worth of a quantity as a whole number, rounded up, as the scheduler and quotas do."""
    return int(parse(value).to_integral_value(rounding=ROUND_CEILING))


def canonical(value: str | int) -> str:
    """The quantity as the API server writes it in a ResourceList; sent like this, it comes back unchanged."""
    exact, notation = _read(value)
    number = exact.quantize(_MILLI, rounding=ROUND_UP, context=_EXACT)
    if notation == "binary" and abs(number) >= 1024 and number == number.to_integral_value():
        return _with_binary_suffix(int(number))
    return _with_exponent(number, notation)


def _read(value: str | int) -> tuple[Decimal, Notation]:
    text = str(value)
    found = _QUANTITY.fullmatch(text) if len(text) <= LONGEST and not isinstance(value, bool) else None
    if found is None:
        raise Invalid("InvalidQuantity", f"{text[:80]!r} is not a Kubernetes quantity: {EXAMPLE}")
    number, notation = Decimal(found["number"]), _notation(found)
    if notation == "binary":
        number = _EXACT.multiply(number, Decimal(2 ** BINARY[found["binary"]]))
        number = max(Decimal(-LARGEST), min(Decimal(LARGEST), number))
    else:
        number = _EXACT.scaleb(number, int(found["exponent"] or DECIMAL[found["decimal"] or ""]))
    if abs(number) > LARGEST:
        raise Invalid("InvalidQuantity", f"{text!r} is more than Kubernetes can count (2^63-1): write a smaller amount")
    return number, notation


def _notation(found: re.Match[str]) -> Notation:
    if found["binary"]:
        return "binary"
    return "exponent" if found["exponent"] else "decimal"


def _with_binary_suffix(number: int) -> str:
    suffix, power = "", 0
    for name, candidate in BINARY.items():
        if number % 2**candidate == 0:
            suffix, power = name, candidate
    return f"{number // 2**power}{suffix}"


def _with_exponent(number: Decimal, notation: Notation) -> str:
    """A whole mantissa with the greatest power of a thousand: as a suffix, or as an exponent if it came with one."""
    if not number:
        return "0"
    sign, digits, exponent = number.normalize(_EXACT).as_tuple()
    mantissa, power = int("".join(map(str, digits))), int(exponent)
    while power % 3:
        mantissa, power = mantissa * 10, power - 1
    if notation == "exponent":
        suffix = f"e{power}" if power else ""
    else:
        suffix = next(name for name, value in DECIMAL.items() if value == power)
    return f"{'-' if sign else ''}{mantissa}{suffix}"
