"""What a module declares is found in what people really write."""

from pathlib import Path

import pytest

from paybill.engines.port import EngineError
from paybill.engines.terraform.declared import blocks, read
from paybill.engines.terraform.root import MODULES

CASES = [
    ('variable "a" {}', {("variable", "a")}, "plain"),
    ("variable a {}", {("variable", "a")}, "without quotes"),
    ('variable\t"a"   {\n}', {("variable", "a")}, "other blanks"),
    ('output "o" { value = 1 }\nvariable "v" { type = string }', {("output", "o"), ("variable", "v")}, "both"),
    ('# variable "a" {}\n// variable "b" {}\n/* variable "c" {}\n*/', set(), "comments"),
    ('locals {\n  x = {\n    variable "a" {}\n  }\n}', set(), "nested"),
    ('locals { x = "variable \\"a\\" {" }\nvariable "b" {}', {("variable", "b")}, "in a string"),
    ('locals { x = "${"}"}" }\nvariable "b" {}', {("variable", "b")}, "brace in a template's string"),
    ('locals { x = "${ {a = "}"}["a"] }{" }\nvariable "b" {}', {("variable", "b")}, "object in a template"),
    ('locals { x = "$${" }\nvariable "b" {}', {("variable", "b")}, "escaped template"),
    ('locals { x = "%{ if true }{%{ endif }" }\nvariable "b" {}', {("variable", "b")}, "directive"),
    ('locals { x = <<EOT\nvariable "a" {}\n{{{\nEOT\n}\nvariable "b" {}', {("variable", "b")}, "heredoc"),
    ('locals { x = <<-EOT\n  variable "a" {}\n  EOT\n}\nvariable "b" {}', {("variable", "b")}, "indented heredoc"),
    ('my_variable "a" {}\nvariable "b" {}', {("variable", "b")}, "a longer word"),
    ('resource "variable" "a" {}', set(), "as a label"),
    ('variable "a" {\r\n}\r\nvariable "b" {}\r\n', {("variable", "a"), ("variable", "b")}, "line ends of Windows"),
    ('variable "a" {\n  default = "x', {("variable", "a")}, "a string without end"),
    ("", set(), "nothing"),
]


@pytest.mark.parametrize(("text", "found", "why"), CASES, ids=[why for *_, why in CASES])
def test_top_level_blocks_are_found(text: str, found: set[tuple[str, str]], why: str):
    assert set(blocks(text)) == found


def test_all_files_of_a_module_count_and_no_others(tmp_path: Path):
    (tmp_path / "main.tf").write_text('variable "a" {}')
    (tmp_path / "more.tf.json").write_text('{"variable": {"b": {}}, "output": [{"c": {"value": 1}}]}')
    (tmp_path / "old.tf.bak").write_text('variable "d" {}')
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "main.tf").write_text('variable "e" {}')

    found = read(tmp_path)

    assert found.variables == {"a", "b"}
    assert found.outputs == {"c"}


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path):
    (tmp_path / "main.tf.json").write_text("{ no")

    with pytest.raises(EngineError, match=r"main\.tf\.json"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["aws", "ibm"])
def test_built_in_modules_take_the_same_and_give_the_same(name: str):
    found = read(MODULES / name)

    assert found.variables == read(MODULES / "aws").variables
    assert found.outputs == {"database", "bucket", "prefix", "key", "identity", "secret", "network"}


def test_it_agrees_with_a_parser_of_the_whole_language():
    hcl2 = pytest.importorskip("hcl2", reason="python-hcl2 is not installed")
    for folder in MODULES.iterdir():
        found = {"variable": set(), "output": set()}
        for path in folder.glob("*.tf"):
            content = hcl2.loads(path.read_text())
            for kind, names in found.items():
                names |= {
                    name.strip('"') for block in content.get(kind, ()) for name in block if name != "__is_block__"
                }
        assert (read(folder).variables, read(folder).outputs) == (found["variable"], found["output"])
