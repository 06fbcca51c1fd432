"""How an agent acts: what a driver lets it say, and what came of it. The gateway is one more of them.

``said`` is an operation's arguments as JSON, the same for all.
"""

import json
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb
from pydantic import ValidationError

from paybill.agents.operations import tools
from tests.agents.conftest import PASSWORD

ARGUMENTS = {
    "get": ("key",), "list": ("where", "sort", "limit"), "aggregate": ("function", "field", "groupBy", "where"),
    "create": ("values",), "update": ("key", "values", "ifMatch"), "delete": ("key",),
}  # fmt: skip
DEFAULTS = {"where": [], "sort": [], "limit": 1000}
PLAIN = ("limit", "function", "field", "groupBy")


READ = {"Integer": int, "Boolean": lambda value: str(value).lower() == "true"}


def read(column, value: Any) -> Any:
    """Constants of a workflow are text: the column says what they are."""
    return READ[column.kind](value) if column is not None and column.kind in READ else value


def spoken(stage, uses: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call, as the operation takes them."""
    collection, _, operation = uses.rpartition(".")
    table = stage.facts.schema_.by_name[collection]
    typed = {name: read(table.by_name.get(name), value) for name, value in arguments.items()}
    if (match := arguments.get("ifMatch")) is not None:
        typed["ifMatch"] = int(match)
    key = {name: typed.pop(name) for name in table.primary_key if name in typed}
    match operation:
        case "get" | "delete":
            return {"key": key}
        case "create":
            return {"values": {**key, **typed}}
        case "update":
            matched = {"ifMatch": typed.pop("ifMatch")} if "ifMatch" in typed else {}
            return {"key": key, "values": typed, **matched}
        case "aggregate":
            said = {name: typed.pop(name) for name in ("function", "field", "groupBy") if name in typed}
            return {**said, "where": [{"field": name, "op": "eq", "value": value} for name, value in typed.items()]}
        case _:
            chosen = {**key, **typed}
            return {"where": [{"field": name, "op": "eq", "value": value} for name, value in chosen.items()]}


@dataclass(frozen=True)
class Answer:
    """The rows of an answer, or the SQLSTATE or word with which it was refused."""

    rows: tuple[Any, ...] = ()
    error: str = ""


class Driver(Protocol):
    """One agent in one run."""

    def next(self) -> dict[str, Any]:
        """What the agent is told of what comes next."""
        ...

    def go_on(self, stands: dict[str, Any]) -> Answer:
        """Make the call that comes next, as it was told."""
        ...

    def decide(self, step: str, said: dict[str, str]) -> Answer:
        """Say a decision."""
        ...

    def fail(self, step: str, error: str) -> Answer:
        """Say that the call which comes next failed for good."""
        ...

    def say(self, tool: str, said: dict[str, Any], step: str, key: str = "") -> Answer:
        """Make a call of ``tool``, such as ``tickets.get``."""
        ...

    def sql(self, statement: str) -> Answer | None:
        """Say SQL; None where that cannot be said at all."""
        ...


class Login:
    """The stolen login of the agent: every gate that it may call, and whatever SQL one likes."""

    def __init__(self, stage, run):
        self.stage, self.run = stage, run
        self.session = psycopg.connect(
            host="127.0.0.1", port=stage.at.port, dbname=stage.database, user=stage.role, password=PASSWORD,
            autocommit=True, connect_timeout=60, options="-c statement_timeout=30000 -c lock_timeout=5000",
        )  # fmt: skip

    def next(self):
        return self.answered("SELECT pb.standing(%s)", [self.run]).rows[0][0]

    def go_on(self, stands):
        said = spoken(self.stage, stands["uses"], stands["arguments"])
        return self.say(stands["uses"], said, stands["step"], stands["key"])

    def decide(self, step, said):
        return self.answered("SELECT pb.decide(%s, %s, %s)", [self.run, step, Jsonb(said)])

    def fail(self, step, error):
        return self.answered("SELECT pb.fail(%s, %s, %s)", [self.run, step, error])

    def claim(self, step, key=""):
        self.session.execute(
            "SELECT set_config('pb.run', %s, false), set_config('pb.step', %s, false), set_config('pb.key', %s, false)",
            [str(self.run), step, key],
        )

    def say(self, tool, said, step, key=""):
        collection, _, operation = tool.rpartition(".")
        given = []
        for name in ARGUMENTS.get(operation, ()):
            value = said.get(name, DEFAULTS.get(name))
            if name in PLAIN or (name == "ifMatch" and not isinstance(value, dict | list)):
                given.append(value if value is None or name == "limit" else str(value))
            else:
                given.append(Jsonb(value))
        gate = Identifier(self.stage.gates, f"{collection}_{operation}")
        self.claim(step, key)
        return self.answered(SQL("SELECT {}({})").format(gate, SQL(", ").join([SQL("%s")] * len(given))), given)

    def sql(self, statement):
        return self.answered(statement)

    def answered(self, statement, given=None):
        try:
            cursor = self.session.execute(statement, given)
            return Answer(tuple(cursor.fetchall()) if cursor.description else ())
        except psycopg.Error as error:
            return Answer(error=error.sqlstate or type(error).__name__)

    def close(self):
        self.session.close()


class Operations(Login):
    """The typed operations alone: what is not of their types is refused before the database hears of it."""

    def __init__(self, stage, run):
        super().__init__(stage, run)
        self.tools = {tool.name: tool for tool in tools(stage.policy, stage.facts.schema_)}

    def say(self, tool, said, step, key=""):
        if tool not in self.tools:
            return Answer(error="NoSuchTool")
        try:
            model = self.tools[tool].model.model_validate_json(json.dumps(said))
        except ValidationError:
            return Answer(error="NotOfItsType")
        told = model.model_dump(mode="json", exclude_unset=True)
        return super().say(tool, told, step, key)

    def sql(self, statement):
        return None
