"""Subscriptions that must be accepted and refused."""

from __future__ import annotations

from typing import Any

from tests.cases.model import Case, Change, Object, named

_REFS = {"tenantRef": {"name": "acme"}, "planRef": {"name": "growth"}}


def subscription(**spec: Any) -> Object:
    """A Subscription of acme to growth, unless the spec says otherwise."""
    return named("Subscription", "case", {**_REFS, **spec})


def _case(reason: str, message: str | None, **spec: Any) -> Case:
    return Case("Subscription", reason, subscription(**spec), message)


def _payment(reason: str, message: str | None, **payment: Any) -> Case:
    return _case(reason, message, payment=payment)


def _add_on(name: str, quantity: int = 1) -> Object:
    return {"planRef": {"name": name}, "quantity": quantity}


_MOMENT = "2027-01-01T00:00:00Z"
EDGES_OF_TIME = ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59+23:59", "2027-01-01T00:00:00.5Z")
BEYOND_TIME = ("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01")
UNREADABLE_TIMES = (
    "2027-01-01T00:00:00+24:00", "2027-01-01T00:00:00,5Z", "2027-01-01T00:00:00ZTZ",
    "2027-01-01T00:00:00.1234567891Z", "2027-01-01t00:00:00z",
)  # fmt: skip
"""The API server takes these for a date-time, Python does not."""
BAD_TIMES = ("", "2027-01-01", "2027-01-01T00:00:00", "tomorrow", "2027-13-01T00:00:00Z", "1798761600")

CASES = (
    _case("nothing but the references", None),
    Case("Subscription", "no references", named("Subscription", "case", {}), "Required value"),
    _case("a pinned revision", None, planRef={"name": "growth", "revision": "0123456789"}),
    *(_case(f"revision {revision!r}", "must be a Plan's revision", planRef={"name": "growth", "revision": revision})
      for revision in ("", "012345678", "012345678G", "latest")),
    *(_case(f"plan {name!r}", "must be a DNS label", planRef={"name": name})
      for name in ("Growth", "gro wth", "growth;", "growth'", "größe")),
    _case("a tenant name of 64 characters", "may not be more than 63", tenantRef={"name": "a" * 64}),
    *(_case(f"quantity {quantity!r}", "spec.quantity", quantity=quantity)
      for quantity in (0, -1, 1.5, "25", 1_000_001)),
    _case("two add-ons", None, addOns=[_add_on("seats", 2), _add_on("storage")]),
    _case("one add-on twice", "each add-on may be named once", addOns=[_add_on("seats"), _add_on("seats", 2)]),
    _case("an add-on zero times", "should be greater than or equal to 1", addOns=[_add_on("seats", 0)]),
    _case("33 add-ons", "must have at most 32 items", addOns=[_add_on(f"a{n}") for n in range(33)]),
    _case("a start and an end", None, startTime="2026-01-01T00:00:00+02:00", cancelTime=_MOMENT),
    _case("an end before the start", "cancelTime must not be before startTime",
          startTime=_MOMENT, cancelTime="2026-01-01T00:00:00Z"),
    _case("an end with the period", None, cancelAtPeriodEnd=True),
    _case("two ends", "cancelTime and cancelAtPeriodEnd exclude each other",
          cancelTime=_MOMENT, cancelAtPeriodEnd=True),
    *(_case(f"time {time!r}", "must be of type date-time", startTime=time) for time in BAD_TIMES),
    *(_case(f"time {time!r}", None, startTime=time) for time in EDGES_OF_TIME),
    *(_case(f"time {time!r}", "must be a moment of the years 1 to 9999", startTime=time) for time in BEYOND_TIME),
    *(_case(f"time {time!r}", "should match", startTime=time) for time in UNREADABLE_TIMES),
    _case("a time that is a list", "startTime", startTime=[]),
    _case("exceptions from the plan", None,
          entitlements={"set": [{"name": "seats", "integer": 40}], "remove": ["sso", "region"]}),
    _case("an exception without a value", "exactly one value", entitlements={"set": [{"name": "seats"}]}),
    _case("an exception per unit", None, entitlements={"set": [{"name": "seats", "integer": 4, "perUnit": True}]}),
    _case("a text per unit", "perUnit multiplies a number",
          entitlements={"set": [{"name": "region", "string": "eu", "perUnit": True}]}),
    _case("an exception with an escape", "must be text without control characters",
          entitlements={"set": [{"name": "a", "string": "\x1b[0m"}]}),
    _case("an exception twice", "Duplicate value", entitlements={"set": [{"name": "a", "integer": 1}] * 2}),
    _case("a removal twice", "Duplicate value", entitlements={"remove": ["sso", "sso"]}),
    _case("the removal of a bad name", "must be letters, digits", entitlements={"remove": ["s s"]}),
    _case("an exception for Paybill's own entry", "access is Paybill's own entry",
          entitlements={"set": [{"name": "access", "string": "full"}]}),
    _payment("manual, nothing paid", None, provider="Manual"),
    _payment("manual, paid", None, provider="Manual", paidUntilTime=_MOMENT),
    _payment("manual by default", None, paidUntilTime=_MOMENT),
    _payment("manual with a subscription", "provider Manual has no subscription",
             provider="Manual", subscription="sub_1"),
    _payment("manual with a customer", "provider Manual has no subscription", provider="Manual", customer="cus_1"),
    _payment("Stripe by subscription", None, provider="Stripe", subscription="sub_1PgQ"),
    _payment("Stripe by customer", None, provider="Stripe", customer="cus_1"),
    _payment("Stripe by both", None, provider="Stripe", subscription="sub_1", customer="cus_1"),
    _payment("Stripe by neither", "provider Stripe needs subscription", provider="Stripe"),
    _payment("Stripe, paid by hand", "paidUntilTime belongs to provider Manual",
             provider="Stripe", subscription="sub_1", paidUntilTime=_MOMENT),
    _payment("sold as billed by Stripe", None, provider="Stripe", customer="cus_1", sold="AsBilled"),
    _payment("sold as billed by nobody", "sold AsBilled needs a provider", provider="Manual", sold="AsBilled"),
    _case("a pinned revision, sold as billed", "remove planRef.revision",
          planRef={"name": "growth", "revision": "0123456789"},
          payment={"provider": "Stripe", "customer": "cus_1", "sold": "AsBilled"}),
    _payment("an unknown provider", 'Unsupported value: "stripe"', provider="stripe"),
    _payment("a subscription id with a quote", "should match", provider="Stripe", subscription="sub_1'; --"),
    _payment("a date without a time", "must be of type date-time", paidUntilTime="2027-01-01"),
    Case("Subscription", "a name of 64 characters", named("Subscription", "a" * 64, _REFS), "at most 63 characters"),
    Case("Subscription", "a name with a dot", named("Subscription", "a.b", _REFS), "metadata.name must be a DNS label"),
)  # fmt: skip


def _change(reason: str, after: Object, message: str | None) -> Change:
    return Change("Subscription", reason, subscription(), subscription(**after), message)


CHANGES = (
    _change("another plan", {"planRef": {"name": "team"}}, None),
    _change("another quantity", {"quantity": 30}, None),
    _change("another tenant", {"tenantRef": {"name": "globex"}}, "tenantRef cannot be changed"),
)
