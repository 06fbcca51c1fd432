"""As much of Terraform's expressions as it takes to show a module without running it.

Known are the variables, so what is made of them alone is worked out: references, templates, conditions, lookups.
Everything else (what a cloud gives, loops, functions) stays the text that it is, in ``${…}``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

LATER = object()
"""Stands for what cannot be worked out here."""

_VARIABLE = re.compile(r"var\.([\w.]+)$")
_LOCAL = re.compile(r"local\.(\w+)$")
_ITEM = re.compile(r'(?:var|local)\.(\w+)\["([^"]+)"\]$')
_LOOKUP = re.compile(r'lookup\(var\.foundation, "([^"]+)", (.+)\)$')
_COMPARED = re.compile(r"(.+?) (==|!=) (.+)$")
_TEMPLATE = re.compile(r"\$\{([^{}]+)\}")
_OPEN, _CLOSE = "([{", ")]}"


class Scope:
    """What an expression may refer to: variables by value, locals by their expressions.

    ``required`` gives a value of the foundation by name, or raises because the Cell does not give it.
    """

    def __init__(self, variables: Mapping[str, Any], local: Mapping[str, Any], required: Callable[[str], str]) -> None:
        self._variables = variables
        self._locals = local
        self._required = required

    def shown(self, value: Any) -> Any:
        """A parsed value of a block: worked out as far as it goes, else as it is written."""
        match value:
            case dict():
                return {name.strip('"'): self.shown(one) for name, one in value.items() if not name.startswith("__")}
            case list():
                return [self.shown(one) for one in value]
            case str():
                found = self.value(value)
                return value.strip('"') if found is LATER else found
        return value

    def value(self, text: str) -> Any:
        """What a written value is: a template in quotes, or an expression in ``${…}``; LATER if it is not known."""
        if text.startswith('"') and text.endswith('"'):
            return _TEMPLATE.sub(self._part, text[1:-1])
        if text.startswith("${") and text.endswith("}"):
            return self.expression(text[2:-1].strip())
        return text

    def _part(self, found: re.Match[str]) -> str:
        value = self.expression(found.group(1).strip())
        return str(value) if isinstance(value, str | int) else found.group(0)

    def expression(self, text: str) -> Any:
        """The value of an expression, or LATER."""
        if condition := _split(text, "?"):
            then, otherwise = _split(condition[1], ":") or (condition[1], "null")
            decided = self.expression(condition[0])
            return LATER if decided is LATER else self.expression(then if decided else otherwise)
        if both := _split(text, "&&"):
            sides = [self.expression(side) for side in both]
            return False if False in sides else LATER if LATER in sides else all(sides)
        if text.startswith("!"):
            negated = self.expression(text[1:])
            return negated if negated is LATER else not negated
        return self._compared(text) if _COMPARED.match(text) and not _grouped(text) else self._simple(text)

    def _compared(self, text: str) -> Any:
        left, operator, right = _COMPARED.match(text).groups()  # type: ignore[union-attr]  # the caller matched it
        sides = self.expression(left), self.expression(right)
        return LATER if LATER in sides else (sides[0] == sides[1]) == (operator == "==")

    def _simple(self, text: str) -> Any:
        if found := _VARIABLE.match(text):
            return self._path(found.group(1).split("."))
        if found := _LOCAL.match(text):
            written = self._locals.get(found.group(1), LATER)
            return self.value(written) if isinstance(written, str) else written
        if found := _ITEM.match(text):
            return self._required(found.group(2)) if "foundation" in text or "cell" in text else LATER
        if found := _LOOKUP.match(text):
            return self._variables["foundation"].get(found.group(1)) or self.expression(found.group(2))
        return _literal(text)

    def _path(self, names: list[str]) -> Any:
        value: Any = self._variables
        for name in names:
            if not isinstance(value, Mapping) or name not in value:
                return LATER
            value = value[name]
        return value


def _literal(text: str) -> Any:
    words: dict[str, Any] = {"null": None, "true": True, "false": False, "{}": {}, "[]": [], "toset([])": []}
    if text in words:
        return words[text]
    if text.isdigit():
        return int(text)
    if len(text) > 1 and text[0] == text[-1] == '"' and '"' not in text[1:-1] and "${" not in text:
        return text[1:-1]
    return LATER


def _grouped(text: str) -> bool:
    return text[0] in _OPEN or "(" in text


def _split(text: str, mark: str) -> tuple[str, str] | None:
    """The two sides of the first ``mark`` that is in no brackets and no string."""
    depth, quoted = 0, False
    for at, character in enumerate(text):
        if character == '"' and text[at - 1 : at] != "\\":
            quoted = not quoted
        elif not quoted and character in _OPEN:
            depth += 1
        elif not quoted and character in _CLOSE:
            depth -= 1
        elif not quoted and depth == 0 and text.startswith(mark, at):
            return text[:at].strip(), text[at + len(mark) :].strip()
    return None
