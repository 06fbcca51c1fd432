"""What a Cell can have wrong about its cloud, as the real AWS provider says it before it makes anything."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from paybill.engines.operation import Exit
from tests.engines.terraform.conftest import Bench, inputs

LOGIN = {
    "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "canary-secret",
    "AWS_EC2_METADATA_DISABLED": "true",
}
NOBODY = {"AWS_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_MAX_ATTEMPTS": "1"}


@pytest.mark.parametrize(
    ("changed", "login", "expected"),
    [
        ({"region": "mars-north-1"}, LOGIN | NOBODY, (Exit.USER, "RegionUnknown")),
        ({}, {"AWS_EC2_METADATA_DISABLED": "true"}, (Exit.USER, "CredentialsRefused")),
    ],
    ids=["a region that there is not", "no login at all"],
)
def test_what_is_wrong_is_told(
    with_mirror: dict[str, str], tmp_path: Path, changed: dict[str, Any], login: dict[str, str],
    expected: tuple[Exit, str],
) -> None:  # fmt: skip
    bench = Bench(
        root=tmp_path, environment=with_mirror, path=None, state_url=f"file://{tmp_path}/states", credentials=login
    )

    error = bench.fail("preview", inputs(level="Schema", model="Pooled", database=None, **changed))

    assert (error.exit_code, error.failed.reason) == expected, error.failed.message
    assert "canary-secret" not in error.failed.message
