"""What was made is kept as it was made, whoever changes it: watched objects at once, the rest at the resync."""

from __future__ import annotations

import time
from typing import Any

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from tests.cluster import samples
from tests.cluster.api import Api, Object, condition, holds
from tests.cluster.customers import Customer, Customers, may_connect, secret
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.cluster.waiting import until

OWNERS = {"owners": [{"kind": "Group", "name": "acme-admins"}]}
GUARDRAILS = [
    ("ResourceQuota", "paybill"), ("LimitRange", "paybill"), ("NetworkPolicy", "paybill"), ("ServiceAccount", "tenant"),
    ("RoleBinding", "paybill-operator"), ("RoleBinding", "paybill-owners"), ("ConfigMap", "{id}-entitlements"),
]  # fmt: skip

Postgres = psycopg.AsyncConnection[Any]


@pytest.fixture
async def customer(customers: Customers) -> Customer:
    return await customers.onboard(spec=OWNERS)


def _content(obj: Object | None) -> Object:
    """What somebody could have changed: everything but the server's bookkeeping."""
    assert obj is not None
    kept = {name: obj["metadata"].get(name) for name in ("name", "namespace", "labels", "annotations")}
    return {**{name: value for name, value in obj.items() if name not in {"metadata", "status"}}, "metadata": kept}


@pytest.mark.parametrize(("kind", "called"), GUARDRAILS)
async def test_what_is_deleted_is_back(
    kind: str, called: str, api: Api, customer: Customer, record_property: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    where = (kind, called.format(id=customer.id), customer.namespace)
    before = await api.get(*where)
    assert before is not None

    began = time.monotonic()
    await api.delete(*where)
    after = await until(lambda: _another(api, where, before["metadata"]["uid"]))

    took = (time.monotonic() - began) * 1000
    record_property("healed_ms", round(took))
    with capsys.disabled():
        print(f" [{kind}/{where[1]} back after {took:.0f} ms]", end="")  # noqa: T201 - a figure for people
    assert _content(after) == _content(before)


async def _another(api: Api, where: tuple[str, str, str], uid: str) -> Object | None:
    found = await api.get(*where)
    return found if found is not None and found["metadata"]["uid"] != uid else None


EVE = {"kind": "User", "name": "eve", "apiGroup": "rbac.authorization.k8s.io"}
EDITS: list[tuple[str, str, Object]] = [
    ("ResourceQuota", "paybill", {"spec": {"hard": {"pods": "9999"}}}),
    ("ResourceQuota", "paybill", {"spec": {"hard": {"pods": None}}}),
    ("ResourceQuota", "paybill", {"spec": {"hard": {"configmaps": "1"}}}),
    ("LimitRange", "paybill", {"spec": {"limits": [{"type": "Container", "default": {"cpu": "1"}}]}}),
    ("NetworkPolicy", "paybill", {"spec": {"egress": [{}]}}),
    ("NetworkPolicy", "paybill", {"spec": {"podSelector": {"matchLabels": {"none": "has-this"}}}}),
    ("NetworkPolicy", "paybill", {"spec": {"policyTypes": ["Ingress"]}}),
    ("ServiceAccount", "tenant", {"automountServiceAccountToken": True}),
    ("ServiceAccount", "tenant", {"automountServiceAccountToken": None}),
    ("RoleBinding", "paybill-owners", {"subjects": [EVE]}),
    ("ConfigMap", "{id}-entitlements", {"data": {"access": "unlimited"}}),
    ("ConfigMap", "{id}-entitlements", {"data": {"feature.seats": "1000000"}}),
    ("Namespace", "{namespace}", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": None}}}),
    ("Namespace", "{namespace}", {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "privileged"}}}),
    ("Namespace", "{namespace}", {"metadata": {"labels": {"paybill.dev/tenant": None}}}),
    ("ResourceQuota", "paybill", {"metadata": {"labels": {"paybill.dev/installation": None}}}),
    ("ResourceQuota", "paybill", {"metadata": {"labels": {"paybill.dev/tenant": None}}}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "called", "edit"), EDITS, ids=[f"{kind}-{edit}" for kind, _, edit in EDITS])
async def test_what_is_edited_is_as_it_was(
    kind: str, called: str, edit: Object, api: Api, customer: Customer, customers: Customers, journal: Journal
) -> None:
    where = (kind, called.format(**vars(customer)), "" if kind == "Namespace" else customer.namespace)
    before = _content(await api.get(*where))

    edited = await api.edit(where[0], where[1], edit, where[2])
    assert _content({**edited, "kind": kind}) != before
    await until(lambda: _is(api, where, before))

    # And it rests there: what is healed is not healed again and again.
    await customers.quiet()
    journal.begin()
    customers.operator.look_at("Tenant", customer.name)
    await customers.quiet()
    assert journal.writes() == []


async def _is(api: Api, where: tuple[str, str, str], before: Object) -> bool:
    return _content(await api.get(*where)) == before


async def test_what_others_added_beside_ours_stays(api: Api, customer: Customer, customers: Customers) -> None:
    added = {"metadata": {"labels": {"team": "blue"}, "annotations": {"note": "x"}}}
    await api.edit("ResourceQuota", "paybill", added, customer.namespace)
    await api.edit("ResourceQuota", "paybill", {"spec": {"hard": {"pods": "1"}}}, customer.namespace)
    await customers.quiet()

    found = await until(lambda: api.get("ResourceQuota", "paybill", customer.namespace))
    assert found["spec"]["hard"]["pods"] == "40"
    assert found["metadata"]["labels"]["team"] == "blue"
    assert found["metadata"]["annotations"]["note"] == "x"


async def test_a_deleted_namespace_comes_back_with_all_that_was_in_it(
    api: Api, customer: Customer, customers: Customers
) -> None:
    before = await customers.binding(customer)
    old = await api.get("Namespace", customer.namespace)
    assert old is not None

    await api.delete("Namespace", customer.namespace)
    await until(lambda: _another(api, ("Namespace", customer.namespace, ""), old["metadata"]["uid"]))
    await until(lambda: _all_there(api, customer))

    after = await until(lambda: customers.binding(customer))
    assert before["username"] == after["username"]
    assert await may_connect(after)
    assert not await may_connect(before), "a lost Secret's password must not stay valid"
    await customers.until(customer.name, lambda one: holds(one, "Ready"))


async def _all_there(api: Api, customer: Customer) -> bool:
    return all([await api.get(kind, name.format(id=customer.id), customer.namespace) for kind, name in GUARDRAILS])


async def test_a_deleted_secret_is_made_anew_at_the_resync(
    api: Api, customer: Customer, customers: Customers, operator: Operator
) -> None:
    before = await customers.binding(customer)
    await api.delete("Secret", f"t-{customer.id}-db", customer.namespace)

    operator.look_at("Tenant", customer.name, deep=True)

    after = await until(lambda: customers.binding(customer))
    assert after["password"] != before["password"]
    assert await may_connect(after)
    assert not await may_connect(before)


NO_TEXT = {"data": {"host": "//79"}}


@pytest.mark.parametrize("edit", [{"stringData": {"host": "evil.example"}}, NO_TEXT], ids=["another host", "no text"])
async def test_an_edited_secret_is_as_it_was_after_the_resync(
    edit: Object, api: Api, customer: Customer, customers: Customers, operator: Operator
) -> None:
    before = await customers.binding(customer)
    await api.edit("Secret", f"t-{customer.id}-db", edit, customer.namespace)

    operator.look_at("Tenant", customer.name, deep=True)

    await until(lambda: _secret_is(customers, customer, before))
    assert await may_connect(before)


async def _secret_is(customers: Customers, customer: Customer, before: dict[str, str]) -> bool:
    return await customers.binding(customer) == before


async def test_the_providers_secret_is_healed_too(api: Api, customer: Customer, operator: Operator) -> None:
    where = (samples.OPERATOR_NAMESPACE, f"t-{customer.id}-db-provider")
    await api.delete("Secret", where[1], where[0])

    operator.look_at("Tenant", customer.name, deep=True)

    found = await until(lambda: secret(api, *where))
    async with await psycopg.AsyncConnection.connect(found["mig-uri"]):
        pass


async def _pool(api: Api, customer: Customer, postgres: Postgres) -> Postgres:
    found = await api.get("Tenant", customer.name)
    assert found is not None
    parts = make_conninfo(
        postgres.info.dsn, password=postgres.info.password, dbname=found["status"]["placement"]["database"]
    )
    return await psycopg.AsyncConnection.connect(parts, autocommit=True)


@pytest.mark.parametrize(
    "damage",
    [
        "REASSIGN OWNED BY pb_{id}_app_a TO postgres; DROP OWNED BY pb_{id}_app_a; DROP ROLE pb_{id}_app_a",
        "REVOKE USAGE ON SCHEMA t_{id} FROM pb_{id}_rw",
        "REVOKE pb_{id}_rw FROM pb_{id}_app_a",
        "ALTER ROLE pb_{id}_app_a NOLOGIN",
        "ALTER ROLE pb_{id}_app_a SUPERUSER",
        "ALTER ROLE pb_{id}_app_a CONNECTION LIMIT 100",
        "GRANT USAGE ON SCHEMA t_{id} TO PUBLIC",
        "ALTER ROLE pb_{id}_app_a PASSWORD NULL",
    ],
)
async def test_what_is_changed_in_the_database_is_mended_at_the_database_resync(
    damage: str, api: Api, customer: Customer, customers: Customers, operator: Operator, postgres: Postgres
) -> None:
    before = await _catalog(await _pool(api, customer, postgres), customer)
    async with await _pool(api, customer, postgres) as pool:
        for statement in damage.format(id=customer.id).split("; "):
            await pool.execute(sql.SQL(statement))  # type: ignore[arg-type]
        assert await _catalog(pool, customer) != before

        operator.look_at("Cell", "local", deep=True)

        await until(lambda: _mended(pool, customer, before))
    assert await may_connect(await customers.binding(customer))


async def _mended(pool: Postgres, customer: Customer, before: object) -> bool:
    return await _catalog(pool, customer) == before


async def _catalog(pool: Postgres, customer: Customer) -> object:
    """Roles, memberships and the schema's grants, by SQL of the test's own; passwords only as there or not."""
    roles = await pool.execute(
        "SELECT rolname, rolsuper, rolcanlogin, rolconnlimit, rolpassword IS NOT NULL FROM pg_authid"
        " WHERE rolname LIKE %s ORDER BY 1",
        (f"pb_{customer.id}_%",),
    )
    members = await pool.execute(
        "SELECT roleid::regrole::text, member::regrole::text FROM pg_auth_members"
        " WHERE member::regrole::text LIKE %s ORDER BY 1, 2",
        (f"pb_{customer.id}_%",),
    )
    schema = await pool.execute(
        "SELECT a::text FROM pg_namespace, unnest(nspacl) a WHERE nspname = %s ORDER BY 1", (f"t_{customer.id}",)
    )
    return [await cursor.fetchall() for cursor in (roles, members, schema)]


@pytest.mark.parametrize("kind", ["Tenant", "Subscription"])
async def test_a_status_edited_by_hand_is_corrected_not_obeyed(
    kind: str, api: Api, customer: Customer, customers: Customers
) -> None:
    before = await api.get(kind, customer.name)
    assert before is not None
    lie: Object = {"phase": "Suspended"}
    if kind == "Tenant":
        lie |= {"id": "aaaaaaaa", "namespace": "kube-system", "plan": {"name": "gold", "revision": "0"}}
    else:
        lie |= {"anchors": {"suspendedTime": "2020-01-01T00:00:00Z"}, "tenantUID": "somebody"}

    await api.edit(kind, customer.name, {"status": lie}, status=True)

    await until(lambda: _status_is(api, kind, customer.name, before["status"]))
    assert await may_connect(await customers.binding(customer))


async def _status_is(api: Api, kind: str, name: str, before: Object) -> bool:
    found = await api.get(kind, name)
    return found is not None and found["status"] == before


async def test_a_binding_made_again_with_another_role_is_replaced(
    api: Api, customer: Customer, operator: Operator
) -> None:
    """A RoleBinding's role cannot be edited: somebody who wants another one deletes it and makes it again."""
    found = await api.get("RoleBinding", "paybill-owners", customer.namespace)
    assert found is not None
    labels = found["metadata"]["labels"]
    operator.stop()
    await api.delete("RoleBinding", "paybill-owners", customer.namespace)
    stronger = {**found, "roleRef": {**found["roleRef"], "name": "admin"}}
    stronger["metadata"] = {"name": "paybill-owners", "namespace": customer.namespace, "labels": labels}
    await api.create({**stronger, "kind": "RoleBinding", "apiVersion": "rbac.authorization.k8s.io/v1"})

    operator.start()

    await until(lambda: _role_is(api, customer, "paybill-tenant-owner"))
    assert condition(await api.get("Tenant", customer.name), "Stalled").get("status") == "False"


async def _role_is(api: Api, customer: Customer, role: str) -> bool:
    found = await api.get("RoleBinding", "paybill-owners", customer.namespace)
    return found is not None and found["roleRef"]["name"] == role
