"""Labels: the tenant's marks in the letters that Google takes."""

from __future__ import annotations

import re

from paybill.desired.stack import StackInputs

LONGEST = 63


def labels(inputs: StackInputs) -> dict[str, str]:
    """The marks; values are lower case, at most 63 of letters, digits, dashes and underscores."""
    return {key: re.sub(r"[^a-z0-9_-]", "_", value.lower())[:LONGEST] for key, value in inputs.tags().items()}
