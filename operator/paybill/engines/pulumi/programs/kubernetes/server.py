"""The Postgres server: one pod that restarts on the same disk, takes TLS alone, and may nothing on its node."""

from __future__ import annotations

from collections.abc import Sequence

import pulumi
from pulumi_kubernetes import apps, core, meta

from paybill.desired.stack import DatabaseInputs
from paybill.engines.pulumi.programs.kubernetes.place import NAME, PORT, SELECTED, about
from paybill.engines.pulumi.programs.stack import Stack

ADMIN = "paybill"
USER_ID = 999
"""The user ``postgres`` of the official image."""
OPERATOR_CONNECTIONS = 13
"""On top of the tenant's: three that Postgres reserves for superusers, ten for the operator."""
HBA = """\
local   all all     scram-sha-256
hostssl all all all scram-sha-256
"""
"""Who may log in how: over the network only with TLS."""
HOME, SETTINGS, KEYS = "/var/lib/postgresql", "/etc/paybill/settings", "/etc/paybill/keys"


def disk(stack: Stack, namespace: core.v1.Namespace, gib: int) -> core.v1.PersistentVolumeClaim:
    """The disk, a resource of its own: it must outlive whatever happens to the StatefulSet."""
    return core.v1.PersistentVolumeClaim(
        "disk",
        # Many storage classes bind a disk only when a pod asks for it: waiting for it here would be waiting forever.
        metadata=about(stack, namespace, annotations={"pulumi.com/skipAwait": "true"}),
        spec=core.v1.PersistentVolumeClaimSpecArgs(
            access_modes=["ReadWriteOnce"],
            storage_class_name=stack.inputs.required("storage_class"),
            resources=core.v1.VolumeResourceRequirementsArgs(requests={"storage": f"{gib}Gi"}),
        ),
        opts=stack.holding(slow=True),
    )


def settings(stack: Stack, namespace: core.v1.Namespace) -> core.v1.ConfigMap:
    """Who may log in how."""
    return core.v1.ConfigMap(
        "settings",
        metadata=about(stack, namespace),
        data={"pg_hba.conf": HBA},
        opts=stack.carrying(),
    )


def server(
    stack: Stack,
    namespace: core.v1.Namespace,
    inputs: DatabaseInputs,
    *,
    account: core.v1.ServiceAccount,
    needs: Sequence[pulumi.Resource],
) -> apps.v1.StatefulSet:
    """The server itself; it starts when its disk, settings and keys are there."""
    return apps.v1.StatefulSet(
        "database",
        metadata=about(stack, namespace),
        spec=apps.v1.StatefulSetSpecArgs(
            replicas=1,
            service_name=NAME,
            selector=meta.v1.LabelSelectorArgs(match_labels=SELECTED),
            template=core.v1.PodTemplateSpecArgs(
                metadata=meta.v1.ObjectMetaArgs(labels=stack.tags | SELECTED),
                spec=_pod(stack, inputs, account.metadata.name),
            ),
        ),
        opts=stack.carrying(slow=True, after=needs),
    )


def _pod(stack: Stack, inputs: DatabaseInputs, account: pulumi.Input[str]) -> core.v1.PodSpecArgs:
    return core.v1.PodSpecArgs(
        service_account_name=account,
        automount_service_account_token=False,
        enable_service_links=False,
        termination_grace_period_seconds=120,
        security_context=core.v1.PodSecurityContextArgs(
            run_as_non_root=True,
            run_as_user=USER_ID,
            run_as_group=USER_ID,
            fs_group=USER_ID,
            fs_group_change_policy="OnRootMismatch",
            seccomp_profile=core.v1.SeccompProfileArgs(type="RuntimeDefault"),
        ),
        containers=[_container(stack, inputs)],
        volumes=_volumes(),
    )


def _container(stack: Stack, inputs: DatabaseInputs) -> core.v1.ContainerArgs:
    memory = f"{256 + 10 * inputs.connections}Mi"
    probe = core.v1.ExecActionArgs(command=["pg_isready", "--quiet", "--username", ADMIN])
    return core.v1.ContainerArgs(
        name="postgres",
        image=stack.inputs.foundation.get("postgres_image") or f"docker.io/library/postgres:{inputs.version}",
        args=_arguments(inputs),
        env=[
            core.v1.EnvVarArgs(name="POSTGRES_USER", value=ADMIN),
            core.v1.EnvVarArgs(name="POSTGRES_PASSWORD_FILE", value=f"{KEYS}/password"),
            core.v1.EnvVarArgs(name="POSTGRES_INITDB_ARGS", value="--data-checksums --auth-host=scram-sha-256"),
            core.v1.EnvVarArgs(name="PGDATA", value=f"{HOME}/{inputs.version}/docker"),
        ],
        ports=[core.v1.ContainerPortArgs(name="postgres", container_port=PORT)],
        readiness_probe=core.v1.ProbeArgs(exec_=probe, period_seconds=5, timeout_seconds=5),
        liveness_probe=core.v1.ProbeArgs(
            exec_=probe, initial_delay_seconds=60, period_seconds=20, timeout_seconds=10, failure_threshold=6
        ),
        resources=core.v1.ResourceRequirementsArgs(
            requests={"cpu": "250m", "memory": memory}, limits={"memory": memory}
        ),
        security_context=core.v1.SecurityContextArgs(
            allow_privilege_escalation=False,
            privileged=False,
            read_only_root_filesystem=True,
            capabilities=core.v1.CapabilitiesArgs(drop=["ALL"]),
        ),
        volume_mounts=[
            core.v1.VolumeMountArgs(name="disk", mount_path=HOME),
            core.v1.VolumeMountArgs(name="settings", mount_path=SETTINGS, read_only=True),
            core.v1.VolumeMountArgs(name="keys", mount_path=KEYS, read_only=True),
            core.v1.VolumeMountArgs(name="run", mount_path="/var/run/postgresql"),
            core.v1.VolumeMountArgs(name="tmp", mount_path="/tmp"),  # noqa: S108 - in the pod
            core.v1.VolumeMountArgs(name="shared-memory", mount_path="/dev/shm"),  # noqa: S108
        ],
    )


def _arguments(inputs: DatabaseInputs) -> list[str]:
    values = {
        "max_connections": inputs.connections + OPERATOR_CONNECTIONS,
        "password_encryption": "scram-sha-256",
        "hba_file": f"{SETTINGS}/pg_hba.conf",
        "ssl": "on",
        "ssl_cert_file": f"{KEYS}/tls.crt",
        "ssl_key_file": f"{KEYS}/tls.key",
        "ssl_min_protocol_version": "TLSv1.2",
    }
    return [part for name, value in values.items() for part in ("-c", f"{name}={value}")]


def _volumes() -> list[core.v1.VolumeArgs]:
    """Postgres takes a key that root owns and its group may read (0440), which is what ``fs_group`` makes of it."""
    return [
        core.v1.VolumeArgs(
            name="disk",
            persistent_volume_claim=core.v1.PersistentVolumeClaimVolumeSourceArgs(claim_name=NAME),
        ),
        core.v1.VolumeArgs(name="settings", config_map=core.v1.ConfigMapVolumeSourceArgs(name=NAME)),
        core.v1.VolumeArgs(name="keys", secret=core.v1.SecretVolumeSourceArgs(secret_name=NAME, default_mode=0o440)),
        core.v1.VolumeArgs(name="run", empty_dir=core.v1.EmptyDirVolumeSourceArgs()),
        core.v1.VolumeArgs(name="tmp", empty_dir=core.v1.EmptyDirVolumeSourceArgs()),
        core.v1.VolumeArgs(
            name="shared-memory", empty_dir=core.v1.EmptyDirVolumeSourceArgs(medium="Memory", size_limit="128Mi")
        ),
    ]
