"""The identity of the tenant's pods: a service account that one ServiceAccount of the cluster may act as."""

from __future__ import annotations

from pulumi_gcp import serviceaccount

from paybill.engines.pulumi.programs.stack import Stack


def build(stack: Stack) -> serviceaccount.Account:
    """The account, without any key; its right to things is given by the things."""
    inputs = stack.inputs
    project = inputs.required("project")
    account = serviceaccount.Account(
        "identity",
        serviceaccount.AccountArgs(
            account_id=stack.name,  # 6 to 30 characters
            project=project,
            display_name=f"Tenant {inputs.tenant_id} of {inputs.cell}",
            description=f"{inputs.installation}: pods of tenant {inputs.tenant_uid}",
            create_ignore_already_exists=False,
        ),
        stack.options(),
    )
    serviceaccount.IAMMember(
        "identity-pods",
        serviceaccount.IAMMemberArgs(
            service_account_id=account.name,
            role="roles/iam.workloadIdentityUser",
            member=f"serviceAccount:{project}.svc.id.goog[{inputs.namespace}/{inputs.service_account}]",
        ),
        stack.options(),
    )
    return account
