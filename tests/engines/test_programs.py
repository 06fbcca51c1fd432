"""What holds for every program of every cloud, whatever it declares, and the golden files of each.

PAYBILL_GOLDEN=write pytest tests/engines/test_programs.py    # write the golden files anew; read the difference
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest

from paybill.engines.rendered import SECRET, RenderedResource
from tests.engines.rendered import AGAIN, CLOUDS, LOST, MODELS, PROVIDER, STASH, drawn, every, resources

GOLDEN = Path(__file__).parent / "golden"
ALL = pytest.mark.parametrize(("cloud", "model"), every())


@ALL
def test_it_is_what_the_golden_file_says(cloud, model):
    path = GOLDEN / f"{cloud.lower()}-{model.lower()}.json"
    text = json.dumps(
        {_short(one.address): _plain(one) for one in drawn(cloud, model).resources}, indent=1, ensure_ascii=False
    )
    if os.environ.get("PAYBILL_GOLDEN") == "write":
        path.parent.mkdir(exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    assert path.is_file(), f"write it: PAYBILL_GOLDEN=write pytest {__file__}"
    assert json.loads(path.read_text(encoding="utf-8")) == json.loads(text)


def test_every_golden_file_is_of_a_program():
    known = {f"{cloud.lower()}-{model.lower()}.json" for cloud in CLOUDS for model in MODELS}
    assert {path.name for path in GOLDEN.glob("*.json")} == known


@ALL
def test_a_second_run_declares_the_same(cloud, model):
    assert drawn(cloud, model) == drawn(cloud, model, AGAIN)


@ALL
def test_every_resource_has_the_explicit_provider(cloud, model):
    (provider,) = [one.address for one in drawn(cloud, model).resources if one.type.startswith(PROVIDER)]
    asked = [one for one in resources(cloud, model) if one.type != STASH]  # the engine itself keeps those
    assert {one.options.provider for one in asked} <= {provider}


@ALL
def test_every_resource_has_timeouts_of_its_own(cloud, model):
    lacking = [
        one.address for one in resources(cloud, model) if set(one.options.timeouts) != {"create", "update", "delete"}
    ]
    assert lacking == []


@ALL
def test_data_is_protected_and_stays_where_the_policy_says_so(cloud, model):
    for one in resources(cloud, model):
        if one.data:
            assert (one.options.protect, one.options.retain) == (True, True), one.address


@ALL
def test_data_is_protected_but_goes_where_the_policy_lets_it(cloud, model):
    for one in resources(cloud, model, LOST):
        assert not one.options.retain, one.address
        assert one.options.protect == one.data, one.address


@ALL
def test_what_a_resource_needs_is_in_the_same_stack(cloud, model):
    known = {one.address for one in drawn(cloud, model).resources}
    assert {address for one in resources(cloud, model) for address in one.depends_on} <= known


@ALL
def test_physical_names_are_made_of_the_tenants_id_or_belong_to_what_is(cloud, model):
    """Two names may be without it: those within something that is the tenant's alone."""
    listed = resources(cloud, model)
    free = [one for one in listed if one.physical and "k3x9m2qd" not in one.physical]
    assert [one.address for one in free if not (one.depends_on or one.options.parent)] == []


@ALL
def test_no_secret_is_shown(cloud, model):
    text = drawn(cloud, model).model_dump_json()
    assert not re.search(r"-----BEGIN|password\":\"(?!\[secret\])", text, re.IGNORECASE)


UNVERIFIED = {"OCI": "the authority of a server's certificate is told by a look-up only (its CANNOT says so)"}


@pytest.mark.parametrize("cloud", CLOUDS)
def test_a_silo_hands_over_a_database_that_is_reached_by_tls_and_knows_who_answers_where_it_can(cloud):
    database = drawn(cloud, "Silo").outputs.database
    assert database is not None
    assert database.sslmode == "require" if cloud in UNVERIFIED else database.sslmode.startswith("verify-")
    assert database.admin_password in {None, SECRET}


LOGINS = [
    ("AWS", "paybill", None, "verify-full", "drawn by RDS, and read from Secrets Manager by the worker"),
    ("Azure", "paybill", SECRET, "verify-full", "drawn by the program"),
    ("GCP", "paybill", SECRET, "verify-ca", "drawn by the program"),
    ("Kubernetes", "paybill", SECRET, "verify-full", "drawn by the program"),
    ("OCI", "paybill", SECRET, "require", "drawn by the program, and in the vault"),
]
AUTHORITIES = {"AWS": False, "Azure": False, "GCP": True, "Kubernetes": True, "OCI": False}
"""Whether a certificate is handed over. Azure's authority is a public one, that of OCI is told by a look-up only."""


@pytest.mark.parametrize(("cloud", "user", "password", "sslmode", "whence"), LOGINS)
@pytest.mark.skipif(len(CLOUDS) < len(LOGINS), reason="not every SDK is installed")
def test_a_silo_hands_over_how_the_operator_logs_in(cloud, user, password, sslmode, whence):
    database = drawn(cloud, "Silo").outputs.database
    assert database is not None
    assert (database.admin_user, database.admin_password) == (user, password), whence
    assert database.sslmode == sslmode
    assert (database.ca is not None) == AUTHORITIES[cloud]
    assert database.admin_password or database.admin_secret, "there must be a way to the password"


@pytest.mark.parametrize("cloud", CLOUDS)
@pytest.mark.parametrize("model", ["Pooled", "Bridge"])
def test_without_a_server_of_its_own_a_tenant_gets_none(cloud, model):
    assert drawn(cloud, model).outputs.database is None


def _short(address: str) -> str:
    return "::".join(address.split("::")[2:])


def _plain(one: RenderedResource) -> dict[str, Any]:
    written = one.model_dump(mode="json", exclude_defaults=True, exclude={"address", "type", "name"})
    options = written.get("options", {})
    for field in ("provider", "parent"):
        if field in options:
            options[field] = _short(options[field])
    if "depends_on" in written:
        written["depends_on"] = [_short(address) for address in written["depends_on"]]
    written["inputs"] = {name: _document(value) for name, value in one.inputs.items()}
    return written


def _document(value: Any) -> Any:
    """Text that is a JSON document as what it says, so that a difference can be read."""
    if isinstance(value, str) and value.startswith("{"):
        return {"(as JSON)": json.loads(value)}
    return value
