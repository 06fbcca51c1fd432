"""What holds on Azure, Google and Oracle alike, beside what test_programs.py says of every program."""

import pytest

from paybill.engines.pulumi.rendering import rendering
from paybill.engines.rendered import SECRET, RenderError
from tests.engines import clouds
from tests.engines.rendered import STASH, inputs

pytestmark = pytest.mark.parametrize("cloud", ["Azure", "GCP", "OCI"])

TOLD = {
    "Azure": ("database", "administratorLoginPassword"),
    "GCP": ("database-login", "password"),
    "OCI": ("database-password", "secretContent.content"),
}
"""Which resource is told the administrator's password, in which field."""


@pytest.mark.parametrize("scene", ["silo", "bridge", "pooled", "bridge-server"])
def test_every_wait_is_one_of_two(cloud, scene):
    waits = {one.name: one.options.timeouts for one in clouds.resources(clouds.stack(cloud, scene)).values()}
    assert {name for name, wait in waits.items() if wait not in (clouds.SLOW, clouds.USUAL)} == set()


@pytest.mark.parametrize("scene", ["silo", "bridge-server"])
def test_an_administrators_password_is_drawn_once_kept_by_the_state_and_shown_nowhere(cloud, scene):
    """Each run draws one; the state keeps the first. No resource of a cloud could be asked for it."""
    kept = clouds.resources(clouds.stack(cloud, scene))["administrator-password"]
    assert (kept.type, kept.inputs["input"]) == (STASH, SECRET)
    assert kept.options.ignore_changes == ("input",)
    assert (kept.options.protect, kept.options.retain) == (True, True)


@pytest.mark.parametrize("scene", ["silo", "bridge-server"])
def test_what_a_cloud_is_told_is_the_password_that_is_kept(cloud, scene):
    rendered = clouds.resources(clouds.stack(cloud, scene))
    name, field = TOLD[cloud]
    assert clouds.setting(rendered[name], field) == SECRET
    assert rendered["administrator-password"].address in rendered[name].depends_on


@pytest.mark.parametrize("scene", ["bridge", "pooled"])
def test_without_a_server_there_is_no_password(cloud, scene):
    assert "administrator-password" not in clouds.resources(clouds.stack(cloud, scene))


def test_the_same_is_protected_whether_it_is_retained_or_not(cloud):
    assert clouds.holding(clouds.stack(cloud, "lost")) == clouds.holding(clouds.stack(cloud, "silo"))


@pytest.mark.parametrize("scene", ["silo", "bridge-server"])
def test_what_retained_data_stands_on_stays_with_it(cloud, scene):
    rendered = clouds.resources(clouds.stack(cloud, scene))
    addresses = {one.address: one for one in rendered.values()}
    below = {needed for one in rendered.values() if one.options.protect for needed in one.depends_on}
    assert {addresses[one].name for one in below if not addresses[one].options.retain} == set()


def test_the_pods_identity_goes_with_the_tenant_also_where_the_data_stays(cloud):
    assert clouds.resources(clouds.stack(cloud, "silo"))["identity"].options.retain is False


def test_protection_is_lifted_before_a_destruction_that_was_asked_for(cloud):
    lifted = clouds.resources(clouds.stack(cloud, "lifted"))
    assert set(lifted) == set(clouds.resources(clouds.stack(cloud, "silo")))
    assert not any(one.options.protect or one.options.retain for one in lifted.values())


def test_a_tenant_with_a_server_gets_one_in_the_clusters_network_unless_it_has_its_own(cloud):
    bridge, silo = (clouds.resources(clouds.stack(cloud, scene)) for scene in ("bridge-server", "silo"))
    assert "database" in bridge
    assert "network" not in bridge
    assert {"database", "network"} <= set(silo)


def test_a_bridge_tenant_has_a_key_and_a_pooled_one_has_not(cloud):
    bridge, pooled = (clouds.resources(clouds.stack(cloud, scene)) for scene in ("bridge", "pooled"))
    assert "key" in bridge
    assert not {"key", "network", "database"} & set(pooled)


def test_all_that_is_asked_of_the_foundation_is_explained_and_has_an_example(cloud):
    asked, explained, examples = clouds.foundation(cloud)
    assert asked == explained == examples


def test_a_cell_that_lacks_something_is_told_what(cloud):
    with pytest.raises(RenderError, match=r"Cell example does not give \w+, which the .* is built on") as failure:
        rendering(inputs(cloud, "Silo"))
    assert "spec.engine.foundation" in str(failure.value)
