"""The administrator's password and the server's certificate: made in the first run, kept by the state ever after.

A program runs at every operation and would make new ones each time; the engine is told to ignore that the content
differs, so what it made first is what stays.
"""

from __future__ import annotations

import base64
import secrets as randomness

import pulumi
from pulumi_kubernetes import core

from paybill.engines.pulumi.programs.kubernetes.certificate import self_signed
from paybill.engines.pulumi.programs.kubernetes.place import about
from paybill.engines.pulumi.programs.stack import Stack

PASSWORD, CERTIFICATE, KEY = "password", "tls.crt", "tls.key"
PASSWORD_BYTES = 32


def credentials(stack: Stack, namespace: core.v1.Namespace, host: str) -> core.v1.Secret:
    """The Secret that the server reads them from."""
    pair = self_signed(host)
    content = {
        PASSWORD: randomness.token_urlsafe(PASSWORD_BYTES).encode(),
        CERTIFICATE: pair.certificate,
        KEY: pair.key,
    }
    encoded = {name: base64.b64encode(value).decode() for name, value in content.items()}
    return core.v1.Secret(
        "credentials",
        metadata=about(stack, namespace),
        type="Opaque",
        data=pulumi.Output.secret(encoded),
        opts=stack.holding(ignore=["data"]),
    )


def kept(made: core.v1.Secret, name: str) -> pulumi.Output[str]:
    """One value as it is in the cluster, which may not be the one of this run."""
    return made.data.apply(lambda data: base64.b64decode(data[name]).decode())
