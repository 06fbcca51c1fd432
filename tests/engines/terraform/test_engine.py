"""The operations of the Terraform engine, on a module of built-in resources."""

import json
import stat
from pathlib import Path

from paybill.engines.operation import Exit
from tests.engines.terraform.conftest import Bench, inputs

STORE = "module.stack.terraform_data.store"


def actions(changes) -> dict[str, str]:
    return {change.address.removeprefix("module.stack.terraform_data."): change.action for change in changes}


def bigger(**more):
    return inputs(foundation={"size": "large"}, **more)


def moved(**more):
    return inputs(foundation={"disk": "second"}, **more)


def test_a_preview_says_what_would_be_done_and_does_nothing(bench: Bench):
    first, second = bench.run("preview"), bench.run("preview")

    assert actions(first.changes) == {"store": "create", "switch": "create", "pod": "create"}
    assert [change.address for change in first.changes if change.data] == [STORE]
    assert first.counts == {"create": 3, "same": 0}
    assert first.digest == second.digest
    assert not list(bench.root.glob("states/**/*.tfstate"))


def test_what_was_approved_is_done_and_handed_over(bench: Bench):
    approved = bench.run("preview").digest

    result = bench.run("up", expected=approved)

    assert result.digest == approved
    assert actions(result.changes) == {"store": "create", "switch": "create", "pod": "create"}
    assert result.outputs is not None
    assert result.outputs.bucket == "pb-abcd1234 small"
    assert result.outputs.database is not None
    assert (result.outputs.database.host, result.outputs.database.port) == ("db.test", 5432)


def test_doing_it_again_changes_nothing_and_gives_the_same_digest(bench: Bench):
    bench.run("up")

    first, second = bench.run("up"), bench.run("up")

    assert first.changes == ()
    assert first.counts == {"same": 3}
    assert first.digest == second.digest
    assert first.outputs == second.outputs == bench.run("outputs").outputs


def test_an_update_names_its_fields_and_no_values(bench: Bench):
    bench.run("up")

    result = bench.run("preview", bigger())

    (change,) = result.changes
    assert (change.action, change.address, change.data) == ("update", STORE, True)
    assert change.fields == ("input", "output")
    assert "large" not in result.model_dump_json()


def test_a_plan_that_changed_between_approval_and_apply_is_refused(bench: Bench):
    bench.run("up")
    approved = bench.run("preview", bigger()).digest
    bench.run("up", inputs(foundation={"size": "huge"}))  # somebody else's change: another state

    error = bench.fail("up", bigger(), expected=approved)

    assert (error.exit_code, error.failed.reason) == (Exit.POLICY, "ChangedSinceApproval")
    assert error.result is not None
    assert error.result.digest not in (None, approved)
    assert bench.run("outputs").outputs.bucket == "pb-abcd1234 huge"


def test_replacing_what_holds_data_is_refused(bench: Bench):
    bench.run("up")

    error = bench.fail("up", moved())

    assert (error.exit_code, error.failed.reason) == (Exit.POLICY, "DataProtected")
    assert STORE in error.failed.message
    assert bench.run("preview").changes == ()


def test_replacing_what_holds_data_is_done_where_an_approval_allows_it(bench: Bench):
    bench.run("up")
    approved = bench.run("preview", moved())

    result = bench.run("up", moved(), expected=approved.digest, destroys_data=True)

    assert actions(result.changes) == {"store": "replace", "pod": "update"}
    assert bench.run("preview", moved()).changes == ()


def test_destroying_retains_the_data_and_what_it_rests_on(bench: Bench):
    bench.run("up")
    kept = _state_ids(bench)["store"]

    result = bench.run("destroy")

    assert result.retained == (kept,)
    assert actions(result.changes) == {"switch": "delete", "pod": "delete"}
    assert _state_ids(bench) == {}


def test_destroying_where_data_is_neither_retained_nor_approved_to_go_is_refused(bench: Bench):
    bench.run("up")

    error = bench.fail("destroy", inputs(retain=False))

    assert (error.exit_code, error.failed.reason) == (Exit.POLICY, "DataProtected")
    assert sorted(_state_ids(bench)) == ["pod", "store", "switch"]


def test_destroying_with_data_takes_everything_and_again_does_nothing(bench: Bench):
    bench.run("up")

    result = bench.run("destroy", destroys_data=True)
    again = bench.run("destroy", destroys_data=True)

    assert sorted(actions(result.changes)) == ["pod", "store", "switch"]
    assert result.retained == again.retained == again.changes == ()
    assert _state_ids(bench) == {}


def test_protection_survives_that_a_module_stops_naming_its_data(bench: Bench):
    bench.run("up")
    main = Path(bench.path) / "main.tf"
    main.write_text(main.read_text().replace('output "data_resources" { value = ["terraform_data.store"] }', ""))

    error = bench.fail("up", moved())

    assert error.failed.reason == "DataProtected"


def test_secrets_are_in_private_files_and_on_no_command_line(bench: Bench):
    bench.run("up", credentials={"SOME_TOKEN": "open-sesame-open"})

    folder = Path(bench.last.work_dir) / "terraform"
    for name in ("inputs.auto.tfvars.json", "main.tf.json", "saved.tfplan"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600, name
    state = next(bench.root.glob("states/**/*.tfstate"))
    assert stat.S_IMODE(state.stat().st_mode) == 0o600
    assert "open-sesame-open" not in (folder / "main.tf.json").read_text()
    told = " ".join(line.model_dump_json() for line in bench.told)
    assert "hunter-hunter-2" not in told


def test_progress_names_phases_and_resources(bench: Bench):
    bench.run("up")

    assert list(dict.fromkeys(line.phase for line in bench.told)) == ["init", "plan", "apply", "settle"]
    assert (STORE, "create") in {(line.resource, line.action) for line in bench.told if line.phase == "apply"}


def test_a_partial_failure_says_what_was_done(bench: Bench):
    main = Path(bench.path) / "main.tf"
    broken = """
    resource "terraform_data" "broken" {
      input = terraform_data.pod.id
      provisioner "local-exec" { command = "exit 7" }
    }
    """
    main.write_text(main.read_text() + broken)

    error = bench.fail("up")

    assert error.result is not None
    assert actions(error.result.changes) == {"store": "create", "switch": "create", "pod": "create"}
    assert error.result.pending == ()
    assert "broken" in error.failed.message


def test_a_module_may_use_its_neighbours(bench: Bench):
    neighbour = Path(bench.path).parent / "neighbour"
    neighbour.mkdir()
    (neighbour / "main.tf").write_text('resource "terraform_data" "near" {}\n')
    main = Path(bench.path) / "main.tf"
    main.write_text(main.read_text() + 'module "near" { source = "../neighbour" }\n')

    assert "module.stack.module.near.terraform_data.near" in {change.address for change in bench.run("preview").changes}


def test_recovering_a_whole_stack_changes_nothing(bench: Bench):
    bench.run("up")

    result = bench.run("recover")

    assert result.changes == ()
    assert result.outputs == bench.run("outputs").outputs
    assert bench.run("refresh").changes == bench.run("drift").changes == ()


def _state_ids(bench: Bench) -> dict[str, str]:
    state = json.loads(next(bench.root.glob("states/**/*.tfstate")).read_text())
    return {one["name"]: one["instances"][0]["attributes"]["id"] for one in state["resources"]}
