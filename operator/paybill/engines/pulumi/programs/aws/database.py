"""The tenant's own Postgres server: encrypted with the tenant's key, reached over TLS from the cluster alone."""

from __future__ import annotations

from typing import Any

import pulumi
from pulumi_aws import ec2, rds, vpc

from paybill.desired.stack import DatabaseInputs
from paybill.engines.pulumi.programs.aws.network import Network
from paybill.engines.pulumi.programs.stack import Stack

ADMIN = "paybill"
PORT = 5432
LEAST_STORAGE_GIB = 20
"""The least that RDS takes for gp3."""
CLASSES = ((80, "db.t4g.micro"), (180, "db.t4g.small"), (400, "db.t4g.medium"), (850, "db.t4g.large"))
"""By memory: RDS allows a connection per 9.5 MB of it, of which some are kept for the operator and for AWS itself."""
LARGEST = "db.m7g.xlarge"
AUTHORITY = "rds-ca-rsa2048-g1"
"""The certificate authority of the server's certificate; its root is in the bundle that AWS publishes."""


def instance_class(connections: int) -> str:
    """The smallest class that has memory for so many connections."""
    return next((name for most, name in CLASSES if connections <= most), LARGEST)


def database(stack: Stack, inputs: DatabaseInputs, where: Network, key_arn: pulumi.Input[str]) -> dict[str, Any]:
    """The server and what it stands on; returns where it is."""
    # AWS makes, keeps and rotates the administrator's password: it is in no state and no log.
    server = rds.Instance(
        "database",
        identifier=stack.inputs.suffixed,
        engine="postgres",
        engine_version=inputs.version,
        instance_class=instance_class(inputs.connections),
        storage_type="gp3",
        allocated_storage=max(inputs.storage_gib, LEAST_STORAGE_GIB),
        max_allocated_storage=2 * max(inputs.storage_gib, LEAST_STORAGE_GIB),
        storage_encrypted=True,
        kms_key_id=key_arn,
        username=ADMIN,
        manage_master_user_password=True,
        master_user_secret_kms_key_id=key_arn,
        iam_database_authentication_enabled=True,
        ca_cert_identifier=AUTHORITY,
        publicly_accessible=False,
        db_subnet_group_name=_subnet_group(stack, where).name,
        vpc_security_group_ids=[_security_group(stack, where).id],
        parameter_group_name=_parameters(stack, inputs.version).name,
        multi_az=inputs.high_availability,
        backup_retention_period=inputs.backup_days,
        delete_automated_backups=False,
        copy_tags_to_snapshot=True,
        skip_final_snapshot=False,
        final_snapshot_identifier=f"{stack.inputs.suffixed}-final",
        deletion_protection=stack.guarded,
        auto_minor_version_upgrade=True,
        allow_major_version_upgrade=False,
        tags=stack.tags,
        opts=stack.holding(slow=True),
    )
    secret = server.master_user_secrets.apply(lambda made: made[0].secret_arn if made else None)
    return {
        "host": server.address,
        "port": PORT,
        "admin_user": ADMIN,
        "admin_secret": secret,
        "sslmode": "verify-full",
        # RDS's own authority, whose certificate the server does not tell.
        "ca": stack.inputs.foundation.get("database_ca"),
    }


def _subnet_group(stack: Stack, where: Network) -> rds.SubnetGroup:
    return rds.SubnetGroup(
        "database",
        name=stack.inputs.suffixed,
        description=f"Database of tenant {stack.inputs.tenant_id}",
        subnet_ids=list(where.subnet_ids),
        tags=stack.tags,
        opts=stack.carrying(),
    )


def _security_group(stack: Stack, where: Network) -> ec2.SecurityGroup:
    """In from the cluster's addresses; out nowhere, which a database has no need to."""
    group = ec2.SecurityGroup(
        "database",
        name=f"{stack.inputs.suffixed}-database",
        description="Postgres, from the cluster",
        vpc_id=where.vpc_id,
        tags=stack.tags,
        opts=stack.carrying(),
    )
    vpc.SecurityGroupIngressRule(
        "database",
        security_group_id=group.id,
        description="Postgres from the cluster",
        cidr_ipv4=stack.inputs.required("vpc_cidr"),
        ip_protocol="tcp",
        from_port=PORT,
        to_port=PORT,
        tags=stack.tags,
        opts=stack.carrying(),
    )
    return group


def _parameters(stack: Stack, version: str) -> rds.ParameterGroup:
    return rds.ParameterGroup(
        "database",
        name=f"{stack.inputs.suffixed}-pg{version}",
        family=f"postgres{version}",
        description="TLS only",
        parameters=[
            rds.ParameterGroupParameterArgs(name="rds.force_ssl", value="1"),
            rds.ParameterGroupParameterArgs(name="ssl_min_protocol_version", value="TLSv1.2"),
        ],
        tags=stack.tags,
        opts=stack.carrying(),
    )
