"""What `paybill backups` shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from paybill.api.tenant_backup import TenantBackup
from paybill.cli.backups import lines

NOW = datetime(2026, 3, 10, 12, tzinfo=UTC)


def backup(name: str, *conditions: tuple[str, str, str], **status: Any) -> TenantBackup:
    since = "2026-03-10T03:00:00Z"
    listed = [{"type": kind, "status": value, "reason": reason, "lastTransitionTime": since}
              for kind, value, reason in conditions]  # fmt: skip
    metadata = {"name": name, "creationTimestamp": (NOW - timedelta(hours=2)).isoformat()}
    spec = {"tenantRef": {"name": "acme"}, "reason": "Scheduled"}
    return TenantBackup.read({"metadata": metadata, "spec": spec, "status": {"conditions": listed, **status}})


def test_what_is_proved_what_failed_and_what_runs_are_told_apart():
    shown = list(
        lines(
            [
                backup("good", ("Ready", "True", "Verified"), rows=300, size=4096),
                backup("bad", ("Ready", "False", "LargeObjects"), ("Stalled", "True", "LargeObjects")),
                backup("running", ("Ready", "False", "BackupRunning"), step="Dumping"),
                backup("new"),
            ],
            NOW,
        )
    )
    states = [line.split()[3] for line in shown]
    assert states == ["STATE", "Verified", "LargeObjects", "Dumping", "Pending"]
    assert "300" in shown[1]
    assert "4096" in shown[1]
