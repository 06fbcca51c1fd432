"""Provider Manual: the Subscription itself says until when it is paid. The embedded default, with no outside world.

Because it states dates and nothing else, its snapshot does not depend on when it is asked; the phase that follows
from the dates is computed in lifecycle/subscription.py like everybody else's.
"""

from __future__ import annotations

from paybill.api.subscription import Subscription
from paybill.lifecycle.provider import Snapshot, Status


def snapshot(subscription: Subscription) -> Snapshot:
    """What the contract says of its own payment."""
    return Snapshot(status=Status.BY_DATES, paid_until=subscription.spec.payment.paid_until_time)
