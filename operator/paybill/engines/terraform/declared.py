"""Which variables and outputs a module declares, read from its files, so that it is passed only what it asks for.

Terraform refuses an argument that a module does not declare and tells no one what it does declare before it is run.
This finds the top-level ``variable`` and ``output`` blocks of ``*.tf`` and ``*.tf.json`` files and understands no more
of the language than that: comments, quoted strings with their templates, heredocs and braces.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from paybill.engines.operation import Exit
from paybill.engines.port import EngineError

_HEAD = re.compile(r'(variable|output)[ \t]+(?:"([^"\\]+)"|([A-Za-z_][\w-]*))[ \t]*\{')
_WORD = re.compile(r"[A-Za-z_][\w-]*")
_HEREDOC = re.compile(r"<<-?([A-Za-z_][\w-]*)[ \t]*\r?\n")


@dataclass(frozen=True, kw_only=True)
class Declared:
    """What a module takes and what it gives."""

    variables: frozenset[str]
    outputs: frozenset[str]


def read(folder: Path) -> Declared:
    """What the module in ``folder`` declares; raises EngineError when it is no module."""
    files = sorted(path for path in folder.glob("*") if path.name.endswith((".tf", ".tf.json")) and path.is_file())
    if not files:
        raise EngineError(
            Exit.USER, "ModuleInvalid", f"{folder} holds no *.tf file: spec.engine.modulePath must be a module's folder"
        )
    found = {pair for path in files for pair in _of_file(path)}
    return Declared(
        variables=frozenset(name for kind, name in found if kind == "variable"),
        outputs=frozenset(name for kind, name in found if kind == "output"),
    )


def _of_file(path: Path) -> Iterator[tuple[str, str]]:
    try:
        text = path.read_text(encoding="utf-8")
        yield from _json_blocks(text) if path.name.endswith(".json") else blocks(text)
    except (OSError, ValueError) as error:
        raise EngineError(Exit.USER, "ModuleInvalid", f"cannot read {path}: {error}") from error


def _json_blocks(text: str) -> Iterator[tuple[str, str]]:
    content = json.loads(text)
    for part in content if isinstance(content, list) else [content]:
        for kind in ("variable", "output"):
            named = part.get(kind, {}) if isinstance(part, dict) else {}
            for one in named if isinstance(named, list) else [named]:
                yield from ((kind, name) for name in one)


def blocks(text: str) -> Iterator[tuple[str, str]]:
    """The top-level ``variable`` and ``output`` blocks of a file, as (kind, name)."""
    position, depth = 0, 0
    while position < len(text):
        after = _skipped(text, position)
        if after > position:
            position = after
            continue
        character = text[position]
        if depth == 0 and (head := _HEAD.match(text, position)):
            yield head.group(1), head.group(2) or head.group(3)
            depth, position = 1, head.end()
            continue
        if word := _WORD.match(text, position):
            position = word.end()  # whole, so that "my_variable" is not taken for "variable"
            continue
        depth += (character in "{[(") - (character in "}])")
        position += 1


def _skipped(text: str, position: int) -> int:
    """Where a comment, a string or a heredoc that begins here ends; ``position`` itself when none begins."""
    if text[position] == "#" or text.startswith("//", position):
        return _found(text, "\n", position)
    if text.startswith("/*", position):
        return _found(text, "*/", position + 2)
    if text[position] == '"':
        return _after_string(text, position + 1)
    if heredoc := _HEREDOC.match(text, position):
        end = re.compile(rf"^[ \t]*{re.escape(heredoc.group(1))}[ \t]*\r?$", re.MULTILINE).search(text, heredoc.end())
        return end.end() if end else len(text)
    return position


def _found(text: str, what: str, start: int) -> int:
    at = text.find(what, start)
    return len(text) if at < 0 else at + len(what)


def _after_string(text: str, position: int) -> int:
    """The position after a string's closing quote; its templates may hold strings of their own."""
    while position < len(text):
        if text.startswith(("$${", "%%{"), position):
            position += 3
        elif text.startswith(("${", "%{"), position):
            position = _after_template(text, position + 2)
        elif text[position] == "\\":
            position += 2
        elif text[position] == '"':
            return position + 1
        else:
            position += 1
    return position


def _after_template(text: str, position: int) -> int:
    depth = 1
    while position < len(text) and depth:
        after = _skipped(text, position)
        if after > position:
            position = after
            continue
        depth += (text[position] == "{") - (text[position] == "}")
        position += 1
    return position
