"""States on S3 (emulated by moto): each stack's own file, locked by a file beside it."""

import json
from pathlib import Path

import pytest

from paybill.engines.operation import Exit
from tests.engines.terraform.conftest import LOCAL_MODULE, Bench, Cloud, inputs

KEY = "tenants/paybill-aws-silo/abcd1234-eu-central-1.tfstate"
LOCK = {
    "ID": "0f1e2d3c-4b5a-6978-8796-a5b4c3d2e1f0",
    "Operation": "OperationTypeApply",
    "Info": "",
    "Who": "paybill@worker-7",
    "Version": "1.11.4",
    "Created": "2026-01-02T03:04:05.678901234Z",
    "Path": f"states/{KEY}",
}


@pytest.fixture
def bench(tmp_path: Path, program: dict[str, str], cloud: Cloud) -> Bench:
    module = tmp_path / "module"
    module.mkdir()
    (module / "main.tf").write_text(LOCAL_MODULE)
    url = f"s3://states/{tmp_path.name}/tenants"
    return Bench(
        root=tmp_path, environment=program, path=str(module), state_url=url, credentials=dict(cloud.credentials)
    )


def key_of(bench: Bench) -> str:
    return f"{bench.root.name}/{KEY}"


def lock(bench: Bench, cloud: Cloud) -> None:
    """As a worker leaves it that died while it held the lock."""
    content = json.dumps(LOCK | {"Path": f"states/{key_of(bench)}"})
    cloud.client("s3").put_object(Bucket="states", Key=key_of(bench) + ".tflock", Body=content)


def names(bench: Bench, cloud: Cloud) -> list[str]:
    listed = cloud.client("s3").list_objects_v2(Bucket="states", Prefix=bench.root.name)
    return [one["Key"] for one in listed.get("Contents", ())]


def test_a_stack_is_made_and_known_again(bench: Bench, cloud: Cloud):
    made = bench.run("up")

    assert names(bench, cloud) == [key_of(bench)]  # the lock is gone
    head = cloud.client("s3").head_object(Bucket="states", Key=key_of(bench))
    assert head["ServerSideEncryption"] == "AES256"
    assert bench.run("preview").changes == ()
    assert bench.run("outputs").outputs == made.outputs


def test_a_locked_state_is_a_conflict_that_names_its_holder(bench: Bench, cloud: Cloud):
    bench.run("up")
    lock(bench, cloud)

    error = bench.fail("up", inputs(foundation={"size": "large"}))

    assert (error.exit_code, error.failed.reason) == (Exit.CONFLICT, "StateLocked")
    assert error.failed.holder == "paybill@worker-7"
    assert LOCK["ID"] in error.failed.message


def test_looking_takes_no_lock(bench: Bench, cloud: Cloud):
    bench.run("up")
    lock(bench, cloud)

    assert bench.run("preview").changes == bench.run("drift").changes == ()
    assert key_of(bench) + ".tflock" in names(bench, cloud)


@pytest.mark.parametrize("proof", [(), ("paybill@worker-8",)])
def test_a_lock_whose_owner_is_not_proven_gone_is_left_alone(bench: Bench, cloud: Cloud, proof: tuple[str, ...]):
    bench.run("up")
    lock(bench, cloud)

    error = bench.fail("recover", dead_owners=proof)

    assert error.failed.reason == "StateLocked"
    assert key_of(bench) + ".tflock" in names(bench, cloud)


def test_a_lock_of_a_dead_owner_is_freed_and_the_stack_works_again(bench: Bench, cloud: Cloud):
    made = bench.run("up")
    lock(bench, cloud)

    result = bench.run("recover", dead_owners=("paybill@worker-0", "paybill@worker-7"))

    assert names(bench, cloud) == [key_of(bench)]
    assert result.outputs == made.outputs
    assert bench.run("up").changes == ()


def test_a_bucket_that_does_not_exist_is_for_people(bench: Bench):
    error = bench.fail("preview", state_url="s3://nowhere/tenants")

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "StateUnreachable")


@pytest.mark.exhaustive  # terraform itself tries for a while
def test_a_store_that_is_down_may_come_back(bench: Bench):
    bench.credentials["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9"
    bench.credentials["AWS_MAX_ATTEMPTS"] = "1"

    error = bench.fail("preview")

    assert (error.exit_code, error.failed.reason) == (Exit.TRANSIENT, "StateUnreachable")


def test_without_a_login_nothing_of_the_machine_is_used(bench: Bench):
    error = bench.fail("preview", credentials={"AWS_ENDPOINT_URL": bench.credentials["AWS_ENDPOINT_URL"]})

    assert (error.exit_code, error.failed.reason) == (Exit.USER, "CredentialsRefused")


def test_a_state_that_is_garbage_is_corrupt(bench: Bench, cloud: Cloud):
    cloud.client("s3").put_object(Bucket="states", Key=key_of(bench), Body=b"{ garbage")

    assert bench.fail("preview").failed.reason == "StateCorrupt"
