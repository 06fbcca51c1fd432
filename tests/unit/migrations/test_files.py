"""Migrations are numbered files; what cannot be told in order is refused by name."""

from __future__ import annotations

import pytest

from paybill.api.failures import Invalid
from paybill.migrations.files import LARGEST, bundle, read


def test_files_are_in_the_order_of_their_numbers_and_others_are_left_out(tmp_path):
    for name in ("0010_b.sql", "0002_a.sql", "notes.txt"):
        (tmp_path / name).write_text(f"-- {name}")

    found = read(tmp_path)

    assert [file.file_name for file in found.files] == ["0002_a.sql", "0010_b.sql"]
    assert found.latest == 10
    assert found.get(2).sql == "-- 0002_a.sql"


@pytest.mark.parametrize(
    ("texts", "reason", "named"),
    [
        ({"1_a.sql": ""}, "BadMigrationName", "1_a.sql"),
        ({"0000_a.sql": ""}, "BadMigrationName", "0000_a.sql"),
        ({"0001-a.sql": ""}, "BadMigrationName", "0001-a.sql"),
        ({"0001_a.sql": "", "0001_b.sql": ""}, "DuplicateMigration", "0001_b.sql"),
        ({"0001_a.sql": " " * (LARGEST + 1)}, "MigrationTooLarge", "0001_a.sql"),
    ],
)
def test_what_has_no_clear_place_is_refused_by_name(texts, reason, named):
    with pytest.raises(Invalid) as failure:
        bundle(texts)
    assert failure.value.reason == reason
    assert named in failure.value.message


@pytest.mark.parametrize(
    "make", [lambda path: None, lambda path: (path.mkdir(), (path / "0001_a.sql").write_bytes(b"\xff"))]
)
def test_what_cannot_be_read_is_refused(tmp_path, make):
    make(tmp_path / "folder")
    with pytest.raises(Invalid, match="MigrationsUnreadable"):
        read(tmp_path / "folder")


def test_the_digest_changes_with_any_file():
    one = bundle({"0001_a.sql": "x", "0002_b.sql": "y"})
    assert one.digest == bundle({"0002_b.sql": "y", "0001_a.sql": "x"}).digest
    assert (
        len({one.digest, bundle({"0001_a.sql": "x"}).digest, bundle({"0001_a.sql": "z", "0002_b.sql": "y"}).digest})
        == 3
    )
