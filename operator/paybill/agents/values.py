"""A column's type as a pydantic type: nothing that the column would not take gets past it, and no coercion.

Decimals are text, because JSON's numbers are floats to most readers; their digits are bounded as the column's are.
Integers are bounded by their bits, texts by their length and without NUL, which Postgres refuses.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date, time
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import AwareDatetime, Field, JsonValue, NaiveDatetime, StringConstraints

from paybill.agents.facts import Column, ColumnKind
from paybill.api.failures import Invalid

LONGEST_TEXT: Final = 65_536
"""Characters of a text that the column does not bound."""
MOST_DIGITS: Final = 128
"""Digits before and after the point of a decimal that the column does not bound."""


def python_type(column: Column) -> Any:
    """The type of a value of ``column``, without null; raises ``Invalid("ColumnNotTyped")``."""
    if column.kind == "Opaque":
        raise Invalid("ColumnNotTyped", f"column {column.name} has type {column.type}, which no agent can be given")
    return _TYPES[column.kind](column)


def _integer(column: Column) -> Any:
    most = 2 ** ((column.bits or 64) - 1)
    return Annotated[int, Field(strict=True, ge=-most, le=most - 1)]


def _decimal(column: Column) -> Any:
    if column.precision is None or column.scale is None:
        whole = fraction = MOST_DIGITS
    else:
        whole, fraction = max(column.precision - column.scale, 1), max(column.scale, 0)
    point = rf"(\.[0-9]{{1,{fraction}}})?" if fraction else ""
    pattern = rf"^-?[0-9]{{1,{whole}}}{point}$"
    return Annotated[str, StringConstraints(strict=True, pattern=pattern, max_length=whole + fraction + 2)]


def _text(column: Column) -> Any:
    longest = min(column.length or LONGEST_TEXT, LONGEST_TEXT)
    return Annotated[str, StringConstraints(strict=True, pattern=r"^[^\x00]*$", max_length=longest)]


def _timestamp(column: Column) -> Any:
    return AwareDatetime if column.type.endswith("with time zone") else NaiveDatetime


_TYPES: Final[Mapping[ColumnKind, Callable[[Column], Any]]] = {
    "Boolean": lambda _: Annotated[bool, Field(strict=True)],
    "Date": lambda _: date,
    "Decimal": _decimal,
    "Enum": lambda column: Literal[column.labels],
    "Float": lambda _: Annotated[float, Field(strict=True, allow_inf_nan=False)],
    "Integer": _integer,
    "Json": lambda _: JsonValue,
    "Text": _text,
    "Time": lambda _: time,
    "Timestamp": _timestamp,
    "Uuid": lambda _: UUID,
}
