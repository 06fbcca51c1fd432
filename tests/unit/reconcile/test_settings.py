"""What can be set from outside, and what is said when it cannot be read."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from paybill.api.failures import Invalid
from paybill.desired.gateway import GatewayPods
from paybill.desired.job import OperationPods
from paybill.lifecycle.signup import Signup
from paybill.settings import Settings, from_environment


def test_without_anything_set_everything_has_a_value():
    assert from_environment({}) == Settings()
    assert from_environment({"HOME": "/root", "PAYBILL_WORKERS": "", "PAYBILL_UNHEARD_OF": "1"}) == Settings()


@pytest.mark.parametrize(
    ("variable", "text", "value"),
    [
        ("PAYBILL_NAMESPACE", "billing", "billing"),
        ("PAYBILL_WORKERS", "4", 4),
        ("PAYBILL_LEASE_SECONDS", "2.5", 2.5),
        ("PAYBILL_CONTROL_DATABASE_FILE", "/run/secrets/uri", Path("/run/secrets/uri")),
        ("PAYBILL_INSTALLATION", "staging-2", "staging-2"),
        ("PAYBILL_METRICS_PORT", "9000", 9000),
        ("PAYBILL_SUSPENSIONS_PER_HOUR", "0", 0),
    ],
)
def test_a_variable_sets_the_field_of_its_name(variable, text, value):
    name = variable.removeprefix("PAYBILL_").lower()
    found = from_environment({variable: text})
    assert getattr(found, name) == value
    assert type(getattr(found, name)) is type(value) or isinstance(value, Path)
    others = [field.name for field in fields(Settings) if field.name != name]
    assert all(getattr(found, other) == getattr(Settings(), other) for other in others)


def test_every_field_can_be_set():
    samples = {
        "int": "7",
        "int | None": "7",
        "float": "7",
        "str": "seven",
        "Path | None": "/seven",
        "bool": "true",
        "OperationPods | None": '{"image": "seven"}',
        "GatewayPods | None": '{"image": "seven"}',
        "Signup | None": '{"plans": ["seven"]}',
    }
    environment = {f"PAYBILL_{field.name.upper()}": samples[str(field.type)] for field in fields(Settings)}
    environment["PAYBILL_ACCEPT_POSTGRES"] = "77.7"
    found = from_environment(environment)
    seven = {
        "77.7",
        "7",
        "7.0",
        "seven",
        "/seven",
        "True",
        str(OperationPods(image="seven")),
        str(GatewayPods(image="seven")),
        str(Signup(plans=("seven",))),
    }
    assert all(str(getattr(found, field.name)) in seven for field in fields(Settings))


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PAYBILL_WORKERS", "many"),
        ("PAYBILL_WORKERS", "4.5"),
        ("PAYBILL_DELETIONS_PER_HOUR", "-1"),
        ("PAYBILL_LEASE_SECONDS", "soon"),
        ("PAYBILL_TENANT_METRICS", "yes"),
        ("PAYBILL_ACCEPT_POSTGRES", "all"),
        ("PAYBILL_ACCEPT_POSTGRES", "16.4,"),
        ("PAYBILL_INSTALLATION", "My Company!"),
        ("PAYBILL_INSTALLATION", "-x"),
        ("PAYBILL_INSTALLATION", "x" * 64),
        ("PAYBILL_INSTALLATION", "x\n"),
    ],
)
def test_what_cannot_be_read_is_named_with_its_value(variable, text):
    with pytest.raises(Invalid) as refused:
        from_environment({variable: text})
    assert refused.value.reason == "InvalidSetting"
    assert variable in refused.value.message
    assert repr(text) in refused.value.message


def test_the_file_with_the_uri_wins_over_the_uri(tmp_path):
    file = tmp_path / "uri"
    file.write_text("postgresql://from-the-file\n")
    assert (
        Settings(control_database_file=file, control_database_url="x").control_database()
        == "postgresql://from-the-file"
    )
    assert Settings(control_database_url="x").control_database() == "x"


def test_without_a_control_database_it_says_how_to_name_one():
    with pytest.raises(Invalid, match="PAYBILL_CONTROL_DATABASE_FILE"):
        Settings().control_database()


def test_settings_do_not_change():
    with pytest.raises(FrozenInstanceError):
        Settings().workers = 3  # type: ignore[misc]
