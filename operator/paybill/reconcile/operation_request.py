"""What a worker is asked to do, and whether it may be asked now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paybill.api.failures import Blocked, Retry
from paybill.control.operations import OperationRow
from paybill.desired import names
from paybill.desired.resource import Key, texts
from paybill.desired.stack import StackInputs
from paybill.engines.operation import Request
from paybill.lifecycle.operation import may_destroy_data
from paybill.reconcile import holders
from paybill.reconcile.world import World

if TYPE_CHECKING:
    from paybill.reconcile.infrastructure import Wanted

DEADLINES = {"preview": 900.0, "preview_destroy": 900.0, "drift": 900.0, "outputs": 300.0}
LONGEST = 5400.0


async def request_of(world: World, row: OperationRow, wanted: Wanted) -> Request:
    """What a worker is asked; raises Retry or Blocked while the Cell's credentials cannot be read."""
    spec, claim = wanted.cell.spec.engine, world.registry.by_id(row.tenant_id)
    assert spec is not None  # noqa: S101 - who made `wanted` saw it
    approved = row.expected is not None and row.approved_by is not None
    inputs = _inputs(world, row, wanted)
    going = claim is not None and claim.state == "deleted" and claim.drop_started_time is not None
    return Request(
        id=row.id,
        kind=row.kind,
        engine=spec.type,
        inputs=inputs,
        state_url=spec.state.url if spec.state is not None else None,
        secrets_provider=spec.secrets_provider,
        path=spec.module_path or spec.program_path,
        credentials=await _credentials(world, wanted),
        expected=row.expected,
        dead_owners=await holders.gone(world, row.tenant_id) if row.kind == "recover" else (),
        destroys_data=may_destroy_data(row.kind, approved=approved, retain=inputs.retain, going=going),
        takes_away=row.destructive or world.brakes.halt.permits(destructive=True),
        deadline_seconds=DEADLINES.get(row.kind, LONGEST),
        work_dir=str(world.operations.folder / row.id),
        home=world.operations.embedded_home,
    )


def refuse_paused(world: World, row: OperationRow) -> None:
    """Raise Retry where a person wants the Tenant left as it is; what a deleted one leaves has no Tenant any more."""
    claim, tenant = world.registry.by_id(row.tenant_id), world.declared.tenants.get(row.tenant_name)
    same = claim is not None and tenant is not None and tenant.metadata.uid == claim.tenant_uid
    if same and tenant is not None and tenant.metadata.annotations.get(names.PAUSED_ANNOTATION) == "true":
        raise Retry("Paused", f"Tenant {row.tenant_name} is paused ({names.PAUSED_ANNOTATION}): remove the annotation")


def _inputs(world: World, row: OperationRow, wanted: Wanted) -> StackInputs:
    """What is wanted; of a look at a destruction with what it keeps: nothing, once a policy has come to destroy."""
    tenant = world.declared.tenants.get(row.tenant_name)
    if row.kind != "preview_destroy" or tenant is None:
        return wanted.inputs
    return wanted.inputs.model_copy(update={"retain": tenant.spec.deletion_policy == "Retain"})


async def _credentials(world: World, wanted: Wanted) -> dict[str, str]:
    """What the engine logs in with, from the Cell's Secret; nothing ambient."""
    credentials = wanted.cell.spec.credentials
    if credentials is None:
        return {}
    key = Key("Secret", world.settings.namespace, credentials.secret_ref.name)
    secret = await world.cluster.get(key)
    if secret is None:
        raise Retry("SecretMissing", f"{key} with the credentials of Cell {wanted.cell.metadata.name} does not exist")
    found = texts(secret)
    if any("\ufffd" in value for value in found.values()):
        raise Blocked(
            "CredentialsUnreadable",
            f"{key} with the credentials of Cell {wanted.cell.metadata.name} holds a value that is no text: each of "
            "its keys is a variable of the engine's environment",
        )
    return found
