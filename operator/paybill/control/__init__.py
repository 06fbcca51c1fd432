"""The control database: who leads, which tenants exist and where they sit, and what has happened to subscriptions.

Kubernetes status can be edited, lost or restored from an old backup; what must outlive that (ids, claims, the times a
subscription was suspended or ended, the audit log) is kept in one Postgres that only the operator writes, under an
epoch, so that an operator which no longer leads cannot change anything. See api.md (Identity) and laws 5 and 6.
"""

from paybill.control.adoption import Adoptions
from paybill.control.claims import Claim, Placement
from paybill.control.database import ControlDatabase
from paybill.control.epoch import assert_epoch, take_epoch
from paybill.control.facts import Facts, FactStore
from paybill.control.registry import Registry

__all__ = [
    "Adoptions",
    "Claim",
    "ControlDatabase",
    "FactStore",
    "Facts",
    "Placement",
    "Registry",
    "assert_epoch",
    "take_epoch",
]
