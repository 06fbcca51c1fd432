"""The webhook receiver of ``paybill up``: what is signed by the secret it made is kept, and nothing else is."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from click.testing import CliRunner

from paybill.api.failures import Invalid
from paybill.cli.up import up
from paybill.desired import permissions
from paybill.lifecycle.signup import Signup
from paybill.local import bootstrap, webhook
from paybill.local.bootstrap import Installed
from paybill.local.webhook import Stripe
from paybill.settings import from_environment
from tests.billing.receiving import event, signed
from tests.cluster.api import Api
from tests.cluster.running import Operator
from tests.conftest import LocalThread

SETTINGS: dict[str, Any] = {"webhook_role": webhook.ROLE, "lease_seconds": 15.0}


@pytest.fixture(scope="module", autouse=True)
def database(control_plane: LocalThread, control_dsn: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    file = tmp_path_factory.mktemp("control") / "uri"
    file.write_text(control_dsn)
    yield control_plane.call(webhook.let_in(control_plane.instance, file))
    with psycopg.connect(control_plane.postgres_dsn, autocommit=True) as connection:
        assert connection.execute("SELECT FROM pg_roles WHERE rolname = %s", (webhook.ROLE,)).fetchone() is not None


async def test_an_event_signed_by_the_secret_that_was_made_is_kept_once_and_another_is_not(
    operator: Operator, control_plane: LocalThread, installed: Installed, database: Path, control: Any
) -> None:
    assert operator.leads
    there = control_plane.call(webhook.start(control_plane.instance, installed, Stripe(), database))
    secret = private(there.signing).strip()
    sent = event()
    body = json.dumps(sent).encode()
    async with aiohttp.ClientSession() as http:
        for headers, status in (
            (signed(body, secret=secret), 200),
            (signed(body, secret=secret), 200),
            (signed(body, secret="whsec_another"), 400),
        ):
            async with http.post(there.url, data=body, headers=headers) as answer:
                assert answer.status == status, await answer.text()
    rows = await (await control.execute("SELECT id FROM paybill.inbox")).fetchall()
    assert rows == [(sent["id"],)]
    assert webhook.ROLE in private(database)


def private(file: Path) -> str:
    assert file.stat().st_mode & 0o077 == 0, "a secret is its owner's"
    return file.read_text()


@pytest.mark.parametrize(("key", "live"), [("rk_test_1", False), ("sk_live_1\n", True), ("rk_live_1", True)])
def test_events_of_the_keys_mode_are_taken(tmp_path: Path, key: str, live: bool) -> None:
    file = tmp_path / "key"
    file.write_text(key)
    assert Stripe(key=file).live is live
    assert Stripe(key=file).for_the_operator()["PAYBILL_STRIPE_KEY_FILE"] == str(file)
    assert not Stripe().live


def test_a_key_without_the_receiver_is_no_way_to_ask(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("sk_test_1")
    answer = CliRunner().invoke(up, ["--stripe-key", str(tmp_path / "key")])
    assert (answer.exit_code, "--webhook" in answer.output) == (2, True)


TEMPLATE = "plans: [pro]\naddOns: [seats]\nperHour: 5\n"


@pytest.mark.parametrize("text", [TEMPLATE, json.dumps({"plans": ["pro"], "addOns": ["seats"], "perHour": 5})])
def test_the_template_of_who_signs_up_reaches_the_operator_as_it_is_written(tmp_path: Path, text: str) -> None:
    for name, content in (("key", "sk_test_1"), ("template", text)):
        (tmp_path / name).write_text(content)
    stripe = Stripe(key=tmp_path / "key", signup=webhook.template_in(tmp_path / "template"))
    settings = from_environment(stripe.for_the_operator())
    assert settings.signup == Signup(plans=("pro",), add_ons=("seats",), per_hour=5)
    assert "PAYBILL_SIGNUP" not in Stripe(key=tmp_path / "key").for_the_operator()


@pytest.mark.parametrize("text", ["", "[pro]", "plans: []", "plans: [pro]\nplan: x", "plans: [", "\x00"])
def test_a_template_that_makes_no_sense_stops_it_before_anything_starts(tmp_path: Path, text: str) -> None:
    (tmp_path / "key").write_text("sk_test_1")
    (tmp_path / "template").write_text(text)
    with pytest.raises(Invalid) as refused:
        webhook.template_in(tmp_path / "template")
    assert refused.value.reason == "InvalidSetting"


def test_signing_up_takes_a_key_to_ask_stripe_with(tmp_path: Path) -> None:
    (tmp_path / "template").write_text(TEMPLATE)
    answer = CliRunner().invoke(up, ["--webhook", "--signup", str(tmp_path / "template")])
    assert (answer.exit_code, "--stripe-key" in answer.output) == (2, True)


async def test_the_right_to_make_tenants_comes_with_the_template_and_goes_with_it(
    control_plane: LocalThread, installed: Installed, api: Api
) -> None:
    path = f"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings/{permissions.SIGNUP_ROLE}"
    for signup, status in ((Signup(plans=("pro",)), 200), (None, 404)):
        settings = replace(installed.settings, signup=signup)
        control_plane.call(bootstrap.install(control_plane.instance, settings))
        assert (await api.call("GET", path))[0] == status
