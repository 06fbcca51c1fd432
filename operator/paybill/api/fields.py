"""Field types that several kinds share: names, references, quantities, durations, times.

Each carries its own bounds and CEL rule, so that a name is checked in the same way, in the same words, wherever one
is written. Durations and quantities stay text, as written: ``duration.parse`` and ``quantity.parse`` give their worth.
"""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator, Field, WithJsonSchema

from paybill.api.quantity import LONGEST
from paybill.api.rules import INT_OR_STRING, LABEL_PATTERN, LABEL_WORDS, checks, rule

DURATION_PATTERN = "^([0-9]{1,6}(h|m|s|ms))+$"
DURATION_MESSAGE = (
    'must be a positive Go duration of at most 64 characters, such as "24h", "1h30m" or "30s"; there is no unit for '
    'days, write "336h" for 14 of them'
)
QUANTITY_MESSAGE = (
    'must be a Kubernetes quantity that is not negative: a number with an optional suffix, such as "500m", "4", '
    '"8Gi" or "50G", at most 2^63-1'
)
QUANTITY_PATTERN = "^[0-9]+([.][0-9]+)?([numkMGTPE]|[KMGTPE]i|[eE][-+]?[0-9]{1,2})?$"
# isQuantity() alone is not enough: it takes "Gi" for 0, signs, and "1e99". The bound on the length is what keeps the
# rule within its budget for every value of a quota; the API server counts with it since Kubernetes 1.34.
QUANTITY_RULE = (
    f"type(self) == int ? self >= 0 : type(self) == string && self.matches('{QUANTITY_PATTERN}') "
    "&& !quantity(self).isGreaterThan(quantity('9223372036854775807'))"
)


def _as_text(value: Any) -> Any:
    """YAML reads an unquoted 40 as a number; Kubernetes takes it as the quantity it is."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Name = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        json_schema_extra=checks(rule(f"self.matches('{LABEL_PATTERN}')", f"must be a DNS label: {LABEL_WORDS}")),
    ),
]
"""The name of an object in the cluster, of a server or of a hold."""

KeyName = Annotated[
    str,
    Field(
        min_length=1,
        max_length=253,
        json_schema_extra=checks(
            rule("self.matches('^[-._a-zA-Z0-9]+$')", "must be a key of a Secret: letters, digits, '-', '_' and '.'")
        ),
    ),
]
"""A key inside a Secret."""

Quantity = Annotated[
    str,
    BeforeValidator(_as_text, json_schema_input_type=int | str),
    WithJsonSchema({INT_OR_STRING: True, "maxLength": LONGEST, **checks(rule(QUANTITY_RULE, QUANTITY_MESSAGE))}),
]
"""An amount as Kubernetes writes it; a bare whole number is taken as text."""

Duration = Annotated[
    str,
    Field(
        min_length=2,
        max_length=64,
        json_schema_extra=checks(
            rule(f"self.matches('{DURATION_PATTERN}') && duration(self) > duration('0s')", DURATION_MESSAGE)
        ),
    ),
]
"""A machine span in Go's notation, more than nothing."""

TIME_PATTERN = (
    "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}([.][0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])$"
)

# The format date-time alone lets through lists, the year 0 and a zone of 24 hours; the rule parses what it compares.
Time = Annotated[
    AwareDatetime,
    Field(
        json_schema_extra={"pattern": TIME_PATTERN}
        | checks(
            rule(
                "self >= timestamp('0001-01-01T00:00:00Z') && self <= timestamp('9999-12-31T23:59:59Z')",
                'must be a moment of the years 1 to 9999 with a zone, such as "2030-01-01T00:00:00Z"',
            )
        )
    ),
]
"""A moment, RFC 3339 with a zone."""

Days = Annotated[int, Field(ge=0, le=36_500)]
"""A calendar span in whole days from the anchor that the field names; at most a hundred years."""

ONE_LINE = rule(
    r"!self.matches(r'\p{Cc}')",
    "must be one line of text without control characters: it is shown on terminals and in messages",
)

Line = Annotated[str, Field(min_length=1, max_length=1024, json_schema_extra=checks(ONE_LINE))]
"""One line of text in any script."""

DisplayName = Annotated[str, Field(max_length=256, json_schema_extra=checks(ONE_LINE))]
"""What people call it: any text, shown and never used as a name."""

Revision = Annotated[
    str,
    Field(
        max_length=10,
        json_schema_extra=checks(
            rule("self.matches('^[0-9a-f]{10}$')", "must be a Plan's revision, 10 hexadecimal digits: see its status")
        ),
    ),
]
"""The revision of a Plan's content."""
