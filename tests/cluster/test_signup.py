"""Who pays at a checkout gets a Tenant, over the wire: signed event, receiver, inbox, operator, real API server.

And nobody else does: not who did not pay, not for another price, not under a name that somebody has, and not where the
provider has not given the operator the right.
"""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import aiohttp
import psycopg
import pytest
from click.testing import CliRunner, Result
from psycopg import sql

from paybill.cli.signups import signups
from paybill.desired import names, permissions
from paybill.lifecycle.signup import Signup
from paybill.local import bootstrap
from paybill.reconcile import signing_up
from tests.billing.checkouts import Checkouts
from tests.billing.localstripe import KEY, LocalStripe
from tests.billing.receiving import SECRET, Receiver, as_role, event, signed
from tests.cluster import samples
from tests.cluster.api import Api, Reference, accepted
from tests.cluster.customers import Customers
from tests.cluster.faults import Fault, Faults
from tests.cluster.running import Operator
from tests.cluster.waiting import until
from tests.conftest import LocalThread

SETTINGS: dict[str, Any] = {"stripe_poll_seconds": 3600.0, "lease_seconds": 15.0}
BINDINGS = "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings"

Pay = Callable[..., Awaitable[str]]


@pytest.fixture(scope="module", autouse=True)
def stripe(
    control_plane: LocalThread, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LocalStripe, Checkouts]]:  # fmt: skip
    folder = tmp_path_factory.mktemp("stripe")
    (folder / "key").write_text(f"{KEY}\n")
    role = f"webhook_{secrets.token_hex(4)}"
    with psycopg.connect(control_plane.postgres_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role)))
    one = LocalStripe(folder)
    front = Checkouts(one.url)
    template = Signup(plans=("not-there",), deletion_policy="Delete", per_hour=1000)
    SETTINGS.update(stripe_key_file=folder / "key", stripe_url=front.url, webhook_role=role, signup=template)
    yield one, front
    front.stop()
    one.stop()


@pytest.fixture(scope="module")
def give(stripe: Any, control_plane: LocalThread, module_operator: Operator) -> Callable[[], Awaitable[None]]:
    """Gives the operator the right that comes with a template, as the chart and `paybill up` do."""
    given = [
        obj
        for obj in bootstrap.system(module_operator.settings)
        if obj["metadata"]["name"] == permissions.SIGNUP_ROLE and obj["kind"].startswith("ClusterRole")
    ]

    async def apply() -> None:
        applying = bootstrap.apply_documents(control_plane.instance, given)
        await asyncio.to_thread(control_plane.call, applying)

    return apply


@pytest.fixture(autouse=True)
async def _may(api: Api, give: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    await give()
    yield
    await forbid(api)


async def forbid(api: Api) -> None:
    accepted(*await api.call("DELETE", f"{BINDINGS}/{permissions.SIGNUP_ROLE}"))


@pytest.fixture
async def receiver(
    operator: Operator, stripe: tuple[LocalStripe, Checkouts], control_dsn: str, tmp_path: Path
) -> AsyncIterator[Receiver]:  # fmt: skip
    dsn = as_role(control_dsn, SETTINGS["webhook_role"])
    one = Receiver(dsn, tmp_path, PAYBILL_INSTALLATION=operator.settings.installation)
    await one.start()
    await stripe[0].answers()
    yield one
    await one.stop()


@pytest.fixture
async def pay(
    customers: Customers, operator: Operator, api: Api, stripe: tuple[LocalStripe, Checkouts], receiver: Receiver,
    name: str,
) -> Pay:  # fmt: skip
    """A stranger pays for the test's Plan at a checkout that says this; returns the session."""
    local, front = stripe
    await customers.plan(name, prices=[{"provider": "Stripe", "id": name}])
    await local.plan(name)
    template = Signup(plans=(name,), deletion_policy="Delete", per_hour=1000)
    operator.call(lambda world: setattr(world, "settings", replace(world.settings, signup=template)))
    operator.settings = replace(operator.settings, signup=template)

    async def paid(session: str = "", tenant: str = "", **given: Any) -> str:
        payer = await local.customer()
        subscription = await local.subscribe(payer, name)
        session = session or f"cs_test_{secrets.token_hex(8)}"
        metadata = {"paybill.dev/tenant": tenant} if tenant else {}
        front.completed(session, subscription, payer, **{"metadata": metadata, **given})
        made = f"c-{tenant}"
        api.made[Reference("Subscription", made)] = api.made[Reference("Tenant", made)] = None
        await tell(receiver, front, session)
        return session

    return paid


async def tell(receiver: Receiver, front: Checkouts, session: str, kind: str = "checkout.session.completed") -> None:
    """The event of a session, with no more in it than Paybill keeps."""
    there = front.sessions[session]
    found = {"id": session, "object": "checkout.session", "customer": there["customer"]}
    found |= {"subscription": there["subscription"]}
    body = json.dumps(event(kind, data={"object": found})).encode()
    async with (
        aiohttp.ClientSession() as http,
        http.post(receiver.url, data=body, headers=signed(body, secret=SECRET)) as answer,
    ):
        assert answer.status == 200, await answer.text()


@pytest.fixture
def row(control: psycopg.AsyncConnection[Any]) -> Callable[[str], Awaitable[tuple[Any, ...]]]:
    async def found(session: str) -> tuple[Any, ...]:
        query = "SELECT state, reason, tenant FROM paybill.signups WHERE session = %s"
        answer = await (await control.execute(query, (session,))).fetchone()
        return answer or ("", "", "")

    return found


async def reaches(row: Any, session: str, state: str, reason: str = "") -> None:
    await until(lambda: _is(row, session, state, reason), seconds=90, otherwise=lambda: (session, state, reason))


async def _is(row: Any, session: str, state: str, reason: str) -> bool:
    return bool((await row(session))[:2] == (state, reason))


async def test_who_pays_gets_a_tenant_once_however_often_it_is_told(
    pay: Pay, customers: Customers, api: Api, control: Any, stripe: Any, receiver: Receiver, row: Any, name: str
) -> None:
    session = await pay(tenant=name)
    await reaches(row, session, "Made")
    customer = await customers.ready(f"c-{name}", seconds=90)
    assert customer.plan == name
    tenant = await api.get("Tenant", f"c-{name}")
    contract = await customers.phase(f"c-{name}", "Active", seconds=90)
    assert tenant["metadata"]["annotations"][names.CHECKOUT_ANNOTATION] == session
    assert "owners" not in tenant["spec"], "nobody is let in for what the payer called himself"
    assert contract["spec"]["payment"]["provider"] == "Stripe"

    for kind in ("checkout.session.completed", "checkout.session.async_payment_succeeded"):
        await tell(receiver, stripe[1], session, kind)
    await all_followed(control)
    made = await control.execute(
        "SELECT action, count(*) FROM paybill.audit_log WHERE kind = 'intent' AND object IN (%s, %s) "
        "AND action IN ('tenant.create', 'subscription.create') GROUP BY action ORDER BY action",
        (f"Tenant/c-{name}", f"Subscription/c-{name}"),
    )
    assert await made.fetchall() == [("subscription.create", 1), ("tenant.create", 1)]

    await api.delete("Subscription", f"c-{name}")
    await until(lambda: _gone(api, "Subscription", f"c-{name}"), seconds=60)
    await tell(receiver, stripe[1], session)
    await all_followed(control)
    assert await api.get("Subscription", f"c-{name}") is None, "what a person took away stays away"


async def all_followed(control: Any) -> None:
    async def none_waits() -> bool:
        query = "SELECT count(*) FROM paybill.inbox WHERE done_time IS NULL AND attempts = 0"
        return bool((await (await control.execute(query)).fetchone())[0] == 0)

    await until(none_waits, seconds=60)


async def _gone(api: Api, kind: str, name: str) -> bool:
    await api.strip(kind, name)
    return await api.get(kind, name) is None


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        pytest.param({"payment_status": "unpaid"}, "SignupNotPaid", id="unpaid"),
        pytest.param(
            {"metadata": {"paybill.dev/tenant": "../kube-system"}},
            "SignupNameRefused",
            id="no name",
            marks=pytest.mark.exhaustive,
        ),
    ],
)
async def test_who_did_not_pay_or_has_no_name_gets_nothing_until_that_is_mended(
    pay: Pay, customers: Customers, api: Api, stripe: Any, row: Any, name: str, given: dict[str, Any], reason: str,
    control_dsn: str, operator: Operator,
) -> None:  # fmt: skip
    session = await pay(tenant=name, **given)
    await reaches(row, session, "Refused", reason)
    assert await api.get("Tenant", f"c-{name}") is None
    told = await until(lambda: events(api, "SignupRefused", session), seconds=60)
    assert told[0]["involvedObject"]["name"] == name, "told at the Plan"
    listed = json.loads((await said(control_dsn, "list", "--output", "json")).stdout)
    assert [one["reason"] for one in listed if one["session"] == session] == [reason]

    mended = {"payment_status": "paid", "status": "complete", "metadata": {"paybill.dev/tenant": name}}
    stripe[1].sessions[session] |= mended
    await again(control_dsn, session, operator)
    await reaches(row, session, "Made")
    await customers.phase(f"c-{name}", "Active", seconds=90)


async def again(control_dsn: str, session: str, operator: Operator) -> None:
    """Somebody mended it, and says so."""
    assert (await said(control_dsn, "retry", session)).exit_code == 0
    operator.call(lambda world: world.payments.woken.set())


async def said(control_dsn: str, *words: str) -> Result:
    """`paybill signups` with these words."""
    return await asyncio.to_thread(CliRunner().invoke, signups, [*words, "--database", control_dsn])


@pytest.mark.exhaustive
async def test_a_checkout_that_is_dismissed_is_left_be_however_often_it_is_told(
    pay: Pay, api: Api, stripe: Any, receiver: Receiver, row: Any, name: str, control_dsn: str, control: Any
) -> None:
    session = await pay(tenant=name, payment_status="unpaid")
    await reaches(row, session, "Refused", "SignupNotPaid")
    assert (await said(control_dsn, "dismiss", session)).exit_code == 0
    stripe[1].sessions[session]["payment_status"] = "paid"
    await tell(receiver, stripe[1], session)
    await all_followed(control)
    assert await api.get("Tenant", f"c-{name}") is None
    for word in ("retry", "dismiss"):
        assert (await said(control_dsn, word, session)).exit_code == 1, "there is nothing to do any more"


async def events(api: Api, reason: str, session: str) -> list[dict[str, Any]]:
    _, answer = await api.call("GET", "/api/v1/namespaces/default/events", fieldSelector=f"reason={reason}")
    return [one for one in answer.get("items", []) if session in one["message"]]


async def test_a_name_that_somebody_has_is_not_taken_over_and_would_be_without_that(
    pay: Pay, customers: Customers, api: Api, row: Any, name: str, operator: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    victim = f"c-{name}"
    owner = {"kind": "User", "name": "ann@example.com"}
    await api.apply(samples.tenant(victim, owners=[owner]))
    session = await pay(tenant=name)
    await reaches(row, session, "Refused", "SignupNameTaken")
    assert await api.get("Subscription", victim) is None
    before = await api.get("Tenant", victim)

    async def nothing(*_: Any) -> None:
        return None

    monkeypatch.setattr(signing_up, "_refuse_taken", nothing)
    other = await pay(tenant=name)
    await reaches(row, other, "Begun", "SignupNameTaken")
    assert (await api.get("Tenant", victim))["spec"] == before["spec"], "a POST changes nothing that is there"

    async def overwrite(world: Any, scope: Any, wanted: Any, action: str, obj: Any) -> None:
        await world.cluster.apply(obj, manager=signing_up.MANAGER)

    monkeypatch.setattr(signing_up, "_make", overwrite)
    third = await pay(tenant=name)
    await reaches(row, third, "Made")
    taken = await api.get("Tenant", victim)
    assert taken["metadata"]["annotations"][names.CHECKOUT_ANNOTATION] == third, "without both the attack goes through"


async def test_an_operator_without_the_right_makes_nobody_and_one_that_gets_it_does(
    pay: Pay, customers: Customers, api: Api, row: Any, name: str, control_dsn: str, operator: Operator, give: Any
) -> None:
    await forbid(api)
    session = await pay(tenant=name)
    await reaches(row, session, "Begun", "Forbidden")
    assert await api.get("Tenant", f"c-{name}") is None
    await give()
    # The API server takes a moment to know of the right; it is tried again by itself.
    await again(control_dsn, session, operator)
    await reaches(row, session, "Made")
    await customers.phase(f"c-{name}", "Active", seconds=90)


@pytest.mark.exhaustive
async def test_more_than_the_template_allows_in_an_hour_wait(
    pay: Pay, customers: Customers, api: Api, row: Any, name: str, control_dsn: str, operator: Operator
) -> None:
    usual = operator.settings.signup
    assert usual is not None
    few = usual.model_copy(update={"per_hour": 1})
    operator.call(lambda world: setattr(world, "settings", replace(world.settings, signup=few)))
    first = await pay(tenant=f"{name}-a")
    await reaches_either(row, first)
    second = await pay(tenant=f"{name}-b")
    await reaches(row, second, "Refused", "SignupsPerHour")
    assert await api.get("Tenant", f"c-{name}-b") is None
    operator.call(lambda world: setattr(world, "settings", replace(world.settings, signup=usual)))
    await again(control_dsn, second, operator)
    await reaches(row, second, "Made")


async def reaches_either(row: Any, session: str) -> None:
    """Made, or itself too many: tests before it count in the same hour."""

    async def there() -> bool:
        return bool((await row(session))[:2] in (("Made", ""), ("Refused", "SignupsPerHour")))

    await until(there, seconds=60)


WRITES = (
    "control commit insert into paybill.signups",
    "control commit audit intent tenant.create",
    "post tenants",
    "post subscriptions",
    "control commit update paybill.signups",
)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.exhaustive
async def test_whoever_is_killed_in_the_middle_of_it_makes_one_tenant_all_the_same(
    customers: Customers, api: Api, operator: Operator, pay: Pay, row: Any, name: str, write: str, when: Any
) -> None:  # fmt: skip
    faults = Faults(operator.end_soon)
    operator.stop()
    operator.doors = faults.doors
    operator.start()
    faults.arm(Fault(write, 1, when))
    session = await pay(tenant=name)
    await until(lambda: bool(faults.happened), seconds=90, otherwise=lambda: sorted(set(faults.seen)))
    operator.crash()
    faults.arm()
    operator.start()
    await reaches(row, session, "Made")
    await customers.phase(f"c-{name}", "Active", seconds=90)
    tenants = [one for one in await api.list("Tenant") if mark(one) == session]
    assert [one["metadata"]["name"] for one in tenants] == [f"c-{name}"]


def mark(obj: dict[str, Any]) -> str | None:
    return (obj["metadata"].get("annotations") or {}).get(names.CHECKOUT_ANNOTATION)
