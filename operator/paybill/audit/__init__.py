"""The hash-chained log of what Paybill meant to do and what came of it, and its verification.

Every act is logged before it is done (intent) and after (outcome), so that the log never claims what a crash
prevented and an intent without an outcome names the step to look at. Each process writes its own chain; the head of
each is published outside the database, because a chain alone proves nothing against whoever owns the database.
"""

from paybill.audit.chain import Report, Row, verify
from paybill.audit.entries import Intent, Outcome, StepToken
from paybill.audit.log import AuditLog

__all__ = ["AuditLog", "Intent", "Outcome", "Report", "Row", "StepToken", "verify"]
