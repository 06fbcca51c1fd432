"""The webhook receiver beside the local control plane: its own process, with a role that may only add to the inbox.

It works without an account at Stripe: a signing secret is made, and what is signed by it is kept. What it leads to is
asked of Stripe, so the operator follows events only with a key.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import yaml
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from paybill.api.failures import Invalid
from paybill.lifecycle.signup import Signup, signup_of
from paybill.local import ports
from paybill.local.bootstrap import Installed, login
from paybill.local.home import write_private
from paybill.local.instance import Instance

ROLE = "paybill_webhook"
TEST_KEYS = ("sk_test_", "rk_test_")


@dataclass(frozen=True, kw_only=True)
class Stripe:
    """What is known of an account at Stripe: files with a key of its API and with its endpoint's signing secret.

    ``signup``: the template of those who sign up by paying there; None: nobody can.
    """

    key: Path | None = None
    signing: Path | None = None
    signup: Signup | None = None

    @property
    def live(self) -> bool:
        """Whether events of live mode are taken: those of the mode that the key is of; of test mode without one."""
        return self.key is not None and not self.key.read_text().strip().startswith(TEST_KEYS)

    def for_the_operator(self) -> dict[str, str]:
        """The operator's settings of it."""
        return (
            {"PAYBILL_WEBHOOK_ROLE": ROLE}
            | ({"PAYBILL_STRIPE_KEY_FILE": str(self.key)} if self.key else {})
            | ({"PAYBILL_SIGNUP": json.dumps(self.signup.wire())} if self.signup else {})
        )


@dataclass(frozen=True, kw_only=True)
class Receiving:
    """Where the receiver is: ``url`` takes events that are signed by the secret in ``signing``."""

    url: str
    signing: Path


def template_in(file: Path) -> Signup:
    """The template in a file, YAML or JSON, with the fields of the chart's ``signup``; raises Invalid."""
    try:
        said = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise Invalid("InvalidSetting", f"{file} is neither YAML nor JSON: {' '.join(str(error).split())}") from None
    return signup_of(json.dumps(said, default=str))


async def let_in(instance: Instance, control_file: Path) -> Path:
    """Make the receiver's role, which the operator grants its one right at its start; returns the file of its URI."""
    password = secrets.token_urlsafe(24)
    parts = _parts(control_file)
    async with await psycopg.AsyncConnection.connect(instance.postgres_dsn, autocommit=True) as connection:
        await login(connection, ROLE, password)
        database, role = sql.Identifier(parts["dbname"]), sql.Identifier(ROLE)
        await connection.execute(sql.SQL("GRANT CONNECT ON DATABASE {} TO {}").format(database, role))
    file = instance.home.path / "webhook-database"
    return write_private(file, make_conninfo(**parts | {"user": ROLE, "password": password}))


async def start(instance: Instance, installed: Installed, stripe: Stripe, database: Path) -> Receiving:
    """Run the receiver as a supervised process; returns once it may add to the inbox, so after the operator leads."""
    chosen = ports.choose(["webhook", "webhook-metrics"], {})
    signing = stripe.signing or _made(instance)
    environment: Mapping[str, str] = {
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PAYBILL_INSTALLATION": installed.settings.installation,
        "PAYBILL_CONTROL_DATABASE_FILE": str(database),
        "PAYBILL_STRIPE_SIGNING_FILE": str(signing),
        "PAYBILL_STRIPE_LIVE": "true" if stripe.live else "false",
        "PAYBILL_WEBHOOK_PORT": str(chosen["webhook"]),
        "PAYBILL_METRICS_PORT": str(chosen["webhook-metrics"]),
    }

    async def ready() -> bool:
        try:
            asked = f"http://127.0.0.1:{chosen['webhook-metrics']}/readyz"
            async with aiohttp.ClientSession() as http, http.get(asked) as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    await instance.supervise("webhook", [sys.executable, "-m", "paybill", "webhook"], environment, ready=ready)
    return Receiving(url=f"http://127.0.0.1:{chosen['webhook']}/stripe", signing=signing)


def _parts(file: Path) -> dict[str, Any]:
    return dict(conninfo_to_dict(file.read_text().strip()))


def _made(instance: Instance) -> Path:
    """A signing secret of this machine's own: made once, so that what signs by it goes on."""
    file = instance.home.path / "stripe-signing"
    return file if file.exists() else write_private(file, f"whsec_{secrets.token_hex(24)}\n")
