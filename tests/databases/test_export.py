"""An export holds what the backup was proved to hold, in files that anybody can read."""

import csv
import io
import json
import re
import zipfile
from pathlib import Path

import pytest

from paybill.api.failures import Blocked
from paybill.backups import backup, export, proof
from paybill.backups.manifest import EXPORT, Manifest
from paybill.backups.scratch import left_over
from paybill.backups.store import DirectoryStore
from tests.databases.backing import KEYRING, data_file, take, truth
from tests.databases.test_backups import FULL

ODD = """
CREATE TABLE "../../odd, ""name" (id int, said text);
INSERT INTO "../../odd, ""name" VALUES (1, 'a,"b"' || chr(10) || 'ü'), (2, NULL), (3, '');
"""


async def exported(tenant, folder: Path) -> tuple[Manifest, zipfile.ZipFile]:
    known = await take(tenant, folder)
    store = DirectoryStore(folder)
    made = await export.add(tenant.server, store, KEYRING, known)
    assert await backup.read_manifest(store, KEYRING, known.installation, known.tenant, known.id) == made
    whole = b"".join([piece async for piece in backup.content(store, KEYRING, made, EXPORT)])
    return made, zipfile.ZipFile(io.BytesIO(whole))


def rows(archive: zipfile.ZipFile, table: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(archive.read(export.file_of(table)).decode())))


async def test_every_table_has_a_file_with_its_rows(acme, tmp_path):
    acme.sql(FULL + ODD, "mig_a")

    made, archive = await exported(acme, tmp_path)

    assert archive.testzip() is None
    contents = json.loads(archive.read(export.CONTENTS))
    assert {one["name"]: one["rows"] for one in contents["tables"]} == {t.name: t.rows for t in made.ledger.tables}
    assert rows(archive, "things")[0][:3] == ["id", "at", "how"]
    assert len(rows(archive, "things")) == truth(acme, "things") + 1
    assert rows(archive, '../../odd, "name') == [["id", "said"], ["1", 'a,"b"\nü'], ["2", ""], ["3", ""]]
    assert all(re.fullmatch(r"tables/[^/]+\.csv|schema\.sql|export\.json", name) for name in archive.namelist())
    assert await left_over(acme.server) == []


async def test_its_schema_makes_the_tables_anew_elsewhere(acme, tmp_path):
    acme.sql(FULL, "mig_a")
    _, archive = await exported(acme, tmp_path)
    schema = archive.read(export.SCHEMA).decode()

    assert "OWNER TO" not in schema
    assert "GRANT" not in schema
    acme.at.run("CREATE DATABASE elsewhere TEMPLATE template0")
    try:
        for statement in re.sub(r"(?m)^(--|\\).*$", "", schema).split(";\n"):
            if statement.strip():
                acme.at.run(statement, "elsewhere")
        acme.at.run(f"INSERT INTO {acme.schema}.things (how, title) VALUES ('sad', 'x')", "elsewhere")
        assert acme.at.run(f"SELECT count(*) FROM {acme.schema}.seen", "elsewhere") == [(1,)]
    finally:
        acme.at.run("DROP DATABASE elsewhere")


async def test_of_shared_tables_only_the_tenants_rows(red, blue, tmp_path):
    red.sql("INSERT INTO customers (id, email) SELECT i, i || '@example.org' FROM generate_series(10, 40) i")

    _, archive = await exported(red, tmp_path)

    assert len(rows(archive, "customers")) == 33
    whole = b"".join(archive.read(name) for name in archive.namelist()).decode()
    assert "red@example.org" in whole
    assert blue.id not in whole
    assert "blue@example.org" not in whole


async def test_a_changed_byte_is_seen_and_a_part_is_no_other(acme, tmp_path):
    made, _ = await exported(acme, tmp_path)
    store, file = DirectoryStore(tmp_path), data_file(acme, tmp_path).with_name(EXPORT)
    whole = file.read_bytes()

    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(Blocked) as failure:
        [piece async for piece in backup.content(store, KEYRING, made, EXPORT)]
    assert failure.value.reason == "BackupDamaged"

    file.write_bytes(data_file(acme, tmp_path).read_bytes())
    with pytest.raises(Blocked) as failure:
        [piece async for piece in backup.content(store, KEYRING, made, EXPORT)]
    assert failure.value.reason == "BackupDamaged"


async def test_a_table_that_loses_rows_on_the_way_is_no_export(acme, tmp_path, monkeypatch):
    acme.sql(FULL, "mig_a")
    known = await take(acme, tmp_path)
    monkeypatch.setattr(proof, "refuse_different", lambda *_: None)
    few = known.ledger.tables[0].model_copy(update={"rows": known.ledger.tables[0].rows + 1})
    more = known.model_copy(update={"ledger": known.ledger.model_copy(update={"tables": (few,)})})

    with pytest.raises(Blocked) as failure:
        await export.add(acme.server, DirectoryStore(tmp_path), KEYRING, more)
    assert failure.value.reason == "BackupIncomplete"
    listed = await backup.read_manifest(DirectoryStore(tmp_path), KEYRING, known.installation, known.tenant, known.id)
    assert not listed.has(EXPORT)
