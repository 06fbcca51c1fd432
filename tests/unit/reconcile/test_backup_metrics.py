"""What the metrics of backups say: the oldest counts for its cell, and tenants are named only where asked for."""

from __future__ import annotations

import pytest

from paybill.reconcile.backup_metrics import BackupCollector, BackupSample

FOUND = [
    BackupSample(cell="a", tenant="acme", age_seconds=10.0),
    BackupSample(cell="a", tenant="globex", age_seconds=90.0),
    BackupSample(cell="b", tenant="stark", age_seconds=5.0),
]


@pytest.mark.parametrize("each", [False, True])
def test_a_cell_is_as_old_as_its_oldest(each):
    shown = {
        (family.name, *sample.labels.values()): sample.value
        for family in BackupCollector(lambda: FOUND, each=each).collect()
        for sample in family.samples
    }
    cells = {
        ("paybill_backup_oldest_seconds", "a"): 90.0, ("paybill_backup_oldest_seconds", "b"): 5.0,
        ("paybill_backup_tenants", "a"): 2, ("paybill_backup_tenants", "b"): 1,
    }  # fmt: skip
    tenants = {("paybill_tenant_backup_age_seconds", one.tenant): one.age_seconds for one in FOUND}
    assert shown == (cells | tenants if each else cells)
