"""Anything that users and tools can do to our objects, in any order: the operator neither breaks nor runs in circles.

A sequence is random, but the same for the same seed; how the operator's work falls between its steps is not.
"""

from __future__ import annotations

import base64

import pytest

from paybill.local.bootstrap import Installed
from tests.cluster.api import Api
from tests.cluster.journal import Journal
from tests.cluster.running import Operator
from tests.fuzz.campaign import Campaign
from tests.fuzz.drawing import VARIABLE, apart, numbers
from tests.fuzz.hearing import listening
from tests.fuzz.shapes import USELESS_SECRET, USELESS_SERVERS
from tests.fuzz.steps import Step

SETTINGS = {"database_resync_seconds": 5.0}
AT_ONCE = 25
"""Steps after which the operator gets a moment: else it would see little but the end."""


@pytest.fixture
async def useless(api: Api, installed: Installed, local_cell: None) -> None:
    """A Secret that Cells name as a server's, and that leads nowhere."""
    data = {key: base64.b64encode(value).decode() for key, value in USELESS_SERVERS.items()}
    metadata = {"name": USELESS_SECRET, "namespace": installed.settings.namespace}
    await api.call("POST", f"/api/v1/namespaces/{metadata['namespace']}/secrets",
                   {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": data})  # fmt: skip


@pytest.mark.parametrize(
    ("seed", "count"),
    [
        *((seed, 200) for seed in numbers(1)),
        *(pytest.param(seed, 600, marks=pytest.mark.exhaustive) for seed in numbers(2, 3)),
    ],
)
async def test_nothing_breaks_it(
    seed: int, count: int, api: Api, operator: Operator, journal: Journal, useless: None
) -> None:
    again = f"again: {VARIABLE}={seed} python -m pytest tests/fuzz/test_operator.py -k {seed}-{count}"
    operator.stop()
    steps = [Step(**one) for one in apart("steps", seed, count)]
    with listening() as lines:
        campaign = Campaign(api, operator, journal, lines)
        operator.made = campaign.count_looks
        operator.start()
        for number, step in enumerate(steps):
            await campaign.carry_out(step)
            if number % AT_ONCE == 0:
                await campaign.breathe()

        problems = [f"restless: {one}" for one in [await campaign.come_to_rest(120)] if one]
        problems += [f"silent: {one}" for one in await campaign.unexplained()]
        problems += [f"shown: {one}" for one in await campaign.secrets_shown()]
        problems += [f"stuck: {one}" for one in await campaign.take_all_away(30)]
        problems += [f"restless at the end: {one}" for one in [await campaign.come_to_rest(120)] if one]
        problems += [f"answer: {one}" for one in campaign.problems_in_answers()]
        problems += [f"log: {one}" for one in campaign.problems_in_log()]
        problems += [] if operator.running else [f"the operator has ended: {operator.failure}"]
    said = "\n".join(problems)
    assert not problems, (
        f"{len(problems)} problems with seed {seed}; {again}\n{said}\n{campaign.taken}\n{campaign.told()}"
    )
