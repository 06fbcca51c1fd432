"""An erasure leaves nothing of a tenant but its tombstone and the log, and only a word that fits starts it."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any

import psycopg
import pytest

from paybill.cli import erase
from paybill.cli.registry import read
from paybill.cluster.client import Cluster
from paybill.cluster.session import open_session
from tests.cluster import samples
from tests.cluster.adoptions import deleted, digest, me, uid_of
from tests.cluster.api import Api, condition, holds
from tests.cluster.customers import Customer, Customers
from tests.cluster.remains import gone, state, traces
from tests.cluster.running import Operator
from tests.cluster.test_backups import backup, stored, verified
from tests.cluster.waiting import until
from tests.conftest import LocalThread

Postgres = psycopg.AsyncConnection[Any]
SNAPSHOT = {"deletionPolicy": "Snapshot"}


async def approve(api: Api, tenant: str, tenant_id: str, uid: str, **spec: Any) -> str:
    """Our word that this tenant is erased; returns the Approval's name."""
    subject = {"kind": "Tenant", "name": tenant, "uid": uid}
    what = digest(action="erase", id=tenant_id, uid=uid)
    name = f"erase-{tenant}-{secrets.token_hex(2)}"
    said = {"subject": subject, "action": "Erase", "digest": what, "approver": await me(api), **spec}
    await api.apply(samples.ours("Approval", name, {key: value for key, value in said.items() if value is not None}))
    return name


async def retained(api: Api, customers: Customers, name: str) -> tuple[Customer, str]:
    """A customer whose Tenant was deleted with a last backup and whose data waits; and the UID of the Tenant."""
    await customers.plan(name, payment={"retainDays": 30, "archiveDays": 60})
    customer = await customers.onboard("one", plan=name, spec=SNAPSHOT)
    uid = await uid_of(api, customer.name)
    await api.delete("Tenant", customer.name)
    await until(lambda: gone(api, "Tenant", customer.name), seconds=60)
    return customer, uid


def files_of(operator: Operator, customer: Customer) -> list[Path]:
    folder: Path = operator.settings.backup_folder  # type: ignore[assignment]
    return [path for path in folder.rglob(f"{customer.id}/**/*") if path.is_file()]


async def backups_of(api: Api, customer: Customer) -> list[str]:
    found = await api.list("TenantBackup")
    return [one["metadata"]["uid"] for one in found if one["status"].get("tenantId") == customer.id]


async def test_a_tenant_that_stands_goes_with_its_backups_and_without_another(
    api: Api, customers: Customers, control: Postgres, postgres: Postgres, operator: Operator, control_dsn: str,
    control_plane: LocalThread, name: str,
) -> None:  # fmt: skip
    customer = await customers.onboard(spec=SNAPSHOT)
    await api.apply(backup(name, customer.name, format="Export"))
    kept = (await verified(customers, name))["metadata"]["uid"]
    assert kept in stored(operator)
    assert len(files_of(operator, customer)) == 3

    async with open_session(control_plane.kubeconfig) as admin:
        with psycopg.connect(control_dsn) as connection:
            _, rows = read(connection, operator.settings.installation)
        doomed = await erase.find(Cluster(admin), rows, customer.name, None)
        assert (doomed.row.id, doomed.stands, len(doomed.backups)) == (customer.id, True, 1)
        await erase.carry_out(Cluster(admin), doomed, 60)

    assert await gone(api, "Tenant", customer.name)
    assert await state(control, customer) == "dropped"
    assert await traces(api, postgres, customer) == set()
    assert await backups_of(api, customer) == []
    assert files_of(operator, customer) == []
    done = await control.execute("SELECT action FROM paybill.audit_log WHERE tenant_id = %s", (customer.id,))
    assert {"tenant.delete", "tenantBackup.delete", "backup.remove"} <= {row[0] for row in await done.fetchall()}
    for one in await api.list("Approval"):
        if one["spec"]["subject"]["name"] == customer.name:
            await api.delete("Approval", one["metadata"]["name"])


async def test_what_waits_for_its_retention_goes_at_once_and_only_with_the_right_word(
    api: Api, customers: Customers, control: Postgres, postgres: Postgres, operator: Operator, name: str
) -> None:
    customer, uid = await retained(api, customers, name)
    wrong = await approve(api, customer.name, "zzzzzzzz", uid)
    other = await approve(api, customer.name, customer.id, "00000000-0000-4000-8000-000000000000")
    late = await approve(api, customer.name, customer.id, uid, expiresTime=samples.moment(minutes=1))
    # Who may only adopt writes the same words without the action, and admission asks for no more.
    adopter = await approve(api, customer.name, customer.id, uid, action=None)
    for unfit in (wrong, other, late):
        await customers.until(unfit, lambda one: not holds(one, "Ready") and one.get("status"), kind="Approval")
    assert "action: Erase" in await customers.stalled(adopter, "DigestMismatch", kind="Approval")
    await customers.quiet()
    assert await state(control, customer) == "deleted"
    assert await traces(api, postgres, customer)
    assert len(await backups_of(api, customer)) == 1

    right = await approve(api, customer.name, customer.id, uid)

    await customers.until(right, lambda one: holds(one, "Ready", "Used"), kind="Approval", seconds=60)
    assert await state(control, customer) == "dropped"
    assert await traces(api, postgres, customer) == set()
    assert await backups_of(api, customer) == []
    for unfit in (wrong, other, late, adopter):
        assert not holds(await api.get("Approval", unfit), "Ready")


async def test_what_was_released_goes_too(
    api: Api, customers: Customers, control: Postgres, postgres: Postgres, name: str
) -> None:
    customer = await customers.onboard(spec={"deletionPolicy": "Retain"})
    uid = await uid_of(api, customer.name)
    await deleted(api, customers, customer)
    assert await state(control, customer) == "released"

    word = await approve(api, customer.name, customer.id, uid)

    await customers.until(word, lambda one: holds(one, "Ready", "Used"), kind="Approval", seconds=60)
    assert await state(control, customer) == "dropped"
    assert await traces(api, postgres, customer) == set()


async def test_a_tenant_that_is_not_deleted_stays(
    api: Api, customers: Customers, control: Postgres, operator: Operator
) -> None:
    customer = await customers.onboard()
    word = await approve(api, customer.name, customer.id, await uid_of(api, customer.name))

    found = await customers.until(word, lambda one: condition(one, "Ready").get("reason") == "Waiting", kind="Approval")

    assert f"paybill erase {customer.name}" in condition(found, "Ready")["message"]
    assert await state(control, customer) == "claimed"
    assert holds(await api.get("Tenant", customer.name), "Ready", "Provisioned")


@pytest.mark.exhaustive
async def test_an_erasure_that_is_cut_off_goes_on(
    api: Api, customers: Customers, control: Postgres, postgres: Postgres, operator: Operator, name: str
) -> None:
    customer, uid = await retained(api, customers, name)
    operator.stop()
    word = await approve(api, customer.name, customer.id, uid)
    for seen in ("deleted", "dropped"):
        operator.start()

        async def reached(wanted: str = seen) -> bool:
            return await state(control, customer) in {wanted, "dropped"}

        await until(reached)
        operator.crash()

    operator.start()
    await customers.until(word, lambda one: holds(one, "Ready", "Used"), kind="Approval", seconds=60)
    assert await traces(api, postgres, customer) == set()
    assert await backups_of(api, customer) == []
