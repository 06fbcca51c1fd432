"""The password of a database's administrator: drawn in the first run, kept by the state ever after.

A program runs at every operation and would draw another one each time. The clouds do not tell a password that they were
given, so no resource of theirs can be asked for the first one (as the Kubernetes program asks its Secret). Pulumi's own
``Stash`` keeps it: a resource that is nowhere but in the state, encrypted there, whose ``output`` is the value of the
run that made it.
"""

from __future__ import annotations

import secrets

import pulumi

from paybill.engines.pulumi.programs.stack import USUAL, Stack

STASH = "administrator-password"
EVERY_KIND = "Aa1-Bb2_"
"""Two letters of each case, two digits and two signs, as the clouds' rules ask for; it adds nothing to the secret."""
RANDOM_BYTES = 16
"""128 bits, written as 22 letters: with EVERY_KIND 30, of the 32 that Oracle takes."""


def drawn(stack: Stack) -> pulumi.Output[str]:
    """The password, a secret; the same one in every run of the stack."""
    kept = pulumi.Stash(
        STASH,
        input=pulumi.Output.secret(EVERY_KIND + secrets.token_urlsafe(RANDOM_BYTES)),
        # No explicit provider: the engine itself is it, which logs in nowhere.
        opts=pulumi.ResourceOptions(
            protect=stack.guarded,
            retain_on_delete=stack.inputs.retain,
            ignore_changes=["input"],
            additional_secret_outputs=["input", "output"],
            custom_timeouts=USUAL,
        ),
    )
    return pulumi.Output.secret(kept.output)
