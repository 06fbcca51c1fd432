"""What is generated from the models and kept in the repository is up to date, and the examples are readable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from paybill.api.kinds import BY_KIND
from paybill.cli.crds import crds

ROOT = Path(__file__).parents[3]
EXAMPLES = sorted(path for path in (ROOT / "manifests").rglob("*.yaml") if path.parent.name != "argocd")
TOKEN = re.compile(r"\{\{now[+-][0-9]+d\}\}")


def test_the_crds_and_their_reference_are_what_the_models_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    answer = CliRunner().invoke(crds, ["--check", "--docs"])
    assert (answer.output, answer.exit_code) == ("", 0)


def test_check_names_the_files_that_differ_or_are_missing_and_writes_nothing(tmp_path: Path) -> None:
    written = CliRunner().invoke(crds, ["--output", str(tmp_path)])
    assert written.exit_code == 0
    (tmp_path / "paybill.dev_plans.yaml").write_text("edited: by hand\n", encoding="utf-8")
    (tmp_path / "paybill.dev_cells.yaml").unlink()
    answer = CliRunner().invoke(crds, ["--output", str(tmp_path), "--check"])
    assert answer.exit_code == 1
    assert [Path(line.split()[0]).name for line in answer.output.splitlines()] == [
        "paybill.dev_cells.yaml", "paybill.dev_plans.yaml",
    ]  # fmt: skip
    assert not (tmp_path / "paybill.dev_cells.yaml").exists()
    assert (tmp_path / "paybill.dev_plans.yaml").read_text(encoding="utf-8") == "edited: by hand\n"


def test_check_names_a_file_that_is_none_of_them_any_more(tmp_path: Path) -> None:
    assert CliRunner().invoke(crds, ["--output", str(tmp_path)]).exit_code == 0
    (tmp_path / "paybill.dev_accounts.yaml").write_text("kind: CustomResourceDefinition\n", encoding="utf-8")

    answer = CliRunner().invoke(crds, ["--output", str(tmp_path), "--check"])

    assert answer.exit_code == 1
    assert answer.output == f"{tmp_path}/paybill.dev_accounts.yaml is not made by `paybill crds`: remove it\n"


def test_generating_twice_gives_the_same_files_with_a_header(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        args = ["--output", str(tmp_path / folder), "--docs", str(tmp_path / folder / "api.md")]
        assert CliRunner().invoke(crds, args).exit_code == 0
    for path in (tmp_path / "a").iterdir():
        text = path.read_text(encoding="utf-8")
        assert text == (tmp_path / "b" / path.name).read_text(encoding="utf-8")
        assert "do not edit" in text.splitlines()[0]


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_example_is_read_and_only_the_demo_has_tokens(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert bool(TOKEN.search(text)) <= ("demo" in path.parts)
    plain = TOKEN.sub("2026-01-01T00:00:00Z", text)
    assert "{{" not in plain
    for document in yaml.safe_load_all(plain):
        if document["apiVersion"].partition("/")[0].endswith("paybill.dev"):
            BY_KIND[document["kind"]].read(document)
