"""The registry's rows in memory, found by id, Tenant UID, Tenant name and Subscription UID.

Every reconcile asks, so no question may cost a query or a walk over all tenants. The database is written first; what
it answered is put here. A row that is older than the one known is no news.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from paybill.control.claims import Claim


class Mirror:
    """All claims but the dropped ones."""

    def __init__(self) -> None:
        self._claims: dict[str, Claim] = {}
        self._by_uid: dict[str, str] = {}
        self._by_subscription: dict[str, str] = {}
        self._by_name: dict[str, set[str]] = defaultdict(set)
        self._by_cell: Counter[str] = Counter()

    def by_uid(self, uid: str) -> Claim | None:
        """The claim of the Tenant with this UID."""
        return self._claims.get(self._by_uid.get(uid, ""))

    def by_id(self, tenant_id: str) -> Claim | None:
        """The claim with this id."""
        return self._claims.get(tenant_id)

    def by_subscription(self, uid: str) -> Claim | None:
        """The claim that is bound to the Subscription with this UID."""
        return self._claims.get(self._by_subscription.get(uid, ""))

    def named(self, tenant_name: str) -> tuple[Claim, ...]:
        """The claims whose Tenant has, or had, this name, oldest first."""
        found = (self._claims[one] for one in self._by_name.get(tenant_name, ()))
        return tuple(sorted(found, key=lambda claim: (claim.created_time, claim.id)))

    def count(self, cell: str) -> int:
        """How many claims are placed in this cell."""
        return self._by_cell[cell]

    def all(self) -> tuple[Claim, ...]:
        """Every claim, in the order in which they came."""
        return tuple(self._claims.values())

    def clear(self) -> None:
        """Forget everything."""
        for index in (self._claims, self._by_uid, self._by_subscription, self._by_name, self._by_cell):
            index.clear()

    def put(self, claim: Claim) -> Claim:
        """Take up what the database answered."""
        old = self._claims.get(claim.id)
        if old is not None and old.version > claim.version:
            return claim
        if claim.state == "dropped":
            self.forget(claim.id)
            return claim
        if old is not None:
            self._unindex(old)
        self._claims[claim.id] = claim
        self._by_uid[claim.tenant_uid] = claim.id
        self._by_name[claim.tenant_name].add(claim.id)
        self._by_cell[claim.cell] += 1
        if claim.subscription_uid:
            self._by_subscription[claim.subscription_uid] = claim.id
        return claim

    def forget(self, tenant_id: str) -> None:
        """Leave a claim out from now on."""
        if (old := self._claims.pop(tenant_id, None)) is not None:
            self._unindex(old)

    def _unindex(self, claim: Claim) -> None:
        self._by_uid.pop(claim.tenant_uid, None)
        self._by_cell[claim.cell] -= 1
        names = self._by_name[claim.tenant_name]
        names.discard(claim.id)
        if not names:
            del self._by_name[claim.tenant_name]
        # Another claim may have been bound to the same Subscription in the meantime: it stays findable.
        if claim.subscription_uid and self._by_subscription.get(claim.subscription_uid) == claim.id:
            del self._by_subscription[claim.subscription_uid]
