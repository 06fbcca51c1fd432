"""What differs between two Plans, field by field."""

import pytest

from paybill.lifecycle.plan_changes import Difference, differences

STARTER = {
    "isolation": {"model": "Pooled", "database": "Rows"},
    "limits": {"quota": {"pods": "20"}},
    "features": [{"name": "seats", "integer": 10}, {"name": "region", "string": "eu"}],
}


@pytest.mark.parametrize(
    ("other", "found"),
    [
        pytest.param(STARTER, [], id="the same"),
        pytest.param(
            STARTER | {"limits": {"quota": {"pods": "30"}}},
            [Difference(field="limits.quota.pods", one="20", other="30")],
            id="another limit",
        ),
        pytest.param(
            STARTER | {"trialDays": 14}, [Difference(field="trialDays", one=None, other=14)], id="a field more"
        ),
        pytest.param(
            STARTER | {"features": [{"name": "region", "string": "eu"}, {"name": "seats", "integer": 25}]},
            [Difference(field="features[seats]", one=10, other=25)],
            id="a feature, wherever it stands",
        ),
        pytest.param(
            {name: STARTER[name] for name in ("isolation", "limits")},
            [
                Difference(field="features[region]", one="eu", other=None),
                Difference(field="features[seats]", one=10, other=None),
            ],
            id="no features",
        ),
    ],
)
def test_what_differs_is_named_by_its_path(other, found):
    assert differences(STARTER, other) == found
