"""What the documentation lists is what the code says, no more, no less; examples can be read, links lead somewhere."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import yaml
from prometheus_client import Metric

from paybill.api import conditions
from paybill.api.kinds import BY_KIND
from paybill.billing import receiver
from paybill.cluster.breaker import ApiBreaker
from paybill.engines import pod
from paybill.gateway import metrics as gateway_metrics
from paybill.lifecycle.phases import Phase
from paybill.reconcile import infrastructure_report, jobs, metrics, move_report, runners, servers, status
from paybill.reconcile.backup_metrics import BackupCollector, BackupSample

ROOT = Path(__file__).parents[2]
CODE = ROOT / "operator" / "paybill"
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md")])

FAILURES = {"Retry", "Blocked", "Invalid", "Held", "RenderError", "NeverBegun"}
CODED = {"EngineError": 1, "LockedError": 1, "_kind": None, "__init__": None}
"""Failures of engines, which come with an exit code: where the reason is; None: behind the code, if there is one."""
STOPS = {"begin_stop", "kill"}
"""What stops an operation gives it a reason."""
CARRIERS = {"Trouble", "Fact", "Course", "Change", "Budget", "Failed", "Wait", "Ask", "change"}
FROM_PHASES = {"str(phase)", "str(standing.phase)", "str(verdict.phase)"}
"""Reasons computed from a phase."""
NAMED = {
    "BEHIND": servers.BEHIND, "GONE": runners.GONE, "NOT_STARTED": jobs.NOT_STARTED, "STOPPED": pod.STOPPED,
}  # fmt: skip
"""Reasons that have a name in the code."""
PASSED_ON = {
    "budget.reason", "failure.reason", "done.reason", "course.reason", "change.reason", "current.change.reason",
    "trouble.reason", "refused.reason", "failed.reason", "last.reason", "row.reason", "kind.reason", "reason", "phase",
    "last.failed", "glance.stalled", "unheard.reason", "episode.reason",
}  # fmt: skip
"""Reasons that were made elsewhere; a variable's own literals are collected where it is assigned."""
MAKERS = FAILURES | CARRIERS | CODED.keys() | STOPS
CAMEL = re.compile(r"[A-Z][A-Za-z]+")


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(CODE.rglob("*.py")):
        yield path.relative_to(CODE), ast.parse(path.read_text(encoding="utf-8"))


def called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case _:
            return ""


def leaves(node: ast.expr) -> Iterator[ast.expr]:
    """The expressions that may be the value: both arms of a condition, every operand of an ``or``."""
    match node:
        case ast.IfExp(body=body, orelse=orelse):
            yield from (*leaves(body), *leaves(orelse))
        case ast.BoolOp(values=values):
            for value in values:
                yield from leaves(value)
        case _:
            yield node


def reason_of(call: ast.Call) -> ast.expr | None:
    named = next((keyword.value for keyword in call.keywords if keyword.arg == "reason"), None)
    if called(call) in CODED and call.args:
        place = CODED[called(call)] or behind_exit_code(call)
        return call.args[place] if place is not None else None
    if called(call) in STOPS:
        said = (isinstance(one, ast.Constant) and isinstance(one.value, str) for one in call.args)
        return next((one for one, is_text in zip(call.args, said, strict=True) if is_text or named_by(one)), None)
    return call.args[0] if called(call) in FAILURES and call.args else named


def named_by(one: ast.expr) -> bool:
    return ast.unparse(one) in NAMED


def behind_exit_code(call: ast.Call) -> int | None:
    codes = [number for number, one in enumerate(call.args) if ast.unparse(one).startswith("Exit.")]
    return codes[0] + 1 if codes else None


def reasons_in(tree: ast.Module) -> Iterator[str]:
    """Every reason that a failure or a condition is made with; an expression nobody knows is an error of this test."""
    for node in ast.walk(tree):
        match node:
            case ast.Call() if called(node) in MAKERS and (reason := reason_of(node)) is not None:
                for leaf in leaves(reason):
                    yield from _reason(leaf)
            case ast.Assign(targets=[ast.Name(id="reason" | "phase")], value=value):
                for leaf in leaves(value):
                    if isinstance(leaf, ast.Constant) and isinstance(leaf.value, str) and CAMEL.fullmatch(leaf.value):
                        yield leaf.value
            case ast.Assign(targets=[ast.Name(id="Rule")], value=ast.Subscript(slice=ast.Tuple(elts=rules))):
                yield from (str(rule.value) for rule in rules if isinstance(rule, ast.Constant))
            case ast.Assign(targets=[ast.Name(id="messages")], value=ast.Dict(keys=keys)):
                yield from (str(key.value) for key in keys if isinstance(key, ast.Constant))


def _reason(leaf: ast.expr) -> Iterator[str]:
    if isinstance(leaf, ast.Constant):
        if leaf.value:
            yield str(leaf.value)
    elif (text := ast.unparse(leaf)) in FROM_PHASES:
        yield from map(str, Phase)
    elif text in NAMED:
        yield NAMED[text]
    else:
        assert text in PASSED_ON, f"{text} may be a reason that this test cannot see: teach it"


def sections(page: Path) -> dict[str, str]:
    parts = re.split(r"^## (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def first_cells(text: str) -> list[str]:
    """The code span that opens each row of the tables."""
    return re.findall(r"^\| `([^`]+)` \|", text, flags=re.MULTILINE)


def test_every_reason_is_on_the_page_and_none_that_is_not_used() -> None:
    used = {reason for _, tree in modules() for reason in reasons_in(tree)}
    listed = [
        reason
        for title, text in sections(DOCS / "reference" / "conditions.md").items()
        if title.startswith("Reasons")
        for reason in first_cells(text)
    ]
    assert sorted(listed) == sorted(set(listed)), "a reason is listed twice"
    assert (used - set(listed), set(listed) - used) == (set(), set())


def test_every_condition_type_is_on_the_page_and_none_that_is_not_used() -> None:
    named = (*vars(status).items(), *vars(infrastructure_report).items(), *vars(move_report).items())
    constants = {name: value for name, value in named if name.isupper() and isinstance(value, str)}
    constants |= {name: getattr(conditions, name) for name in ("READY", "RECONCILING", "STALLED")}
    used = set()
    for path, tree in modules():
        makers = {"Fact", "_held"} if path.name == "status.py" else {"Fact"}
        for node in ast.walk(tree):
            match node:
                case ast.Call() if called(node) in makers:
                    kind = next((keyword.value for keyword in node.keywords if keyword.arg == "type"), None)
                    used.add(ast.unparse(kind or node.args[0]).removeprefix("c."))
    used.discard("kind")  # what _held passes on
    assert set(first_cells(sections(DOCS / "reference" / "conditions.md")["Condition types"])) == {
        constants[name] for name in used
    }


def families() -> Iterator[Metric]:
    sample = metrics.TenantSample(phase="Active", compute="Namespace", database="Schema", ready=True)
    yield from metrics.REGISTRY.collect()
    yield from receiver.REGISTRY.collect()
    yield from gateway_metrics.REGISTRY.collect()
    stacks = metrics.StackSample(waiting=0, running=0, drifted=0, looked_seconds=0.0)
    logins = metrics.LoginSample(login="app", oldest_seconds=0.0, replaced=0)
    used = metrics.UsageSample(tenant="acme", bytes=1, rows=1, transactions=1, connections=1)
    server = metrics.IsolationSample(
        cell="local", server="pool-1", denied=1, detected=0, succeeded=0, age_seconds=0.0, findings={"PublicGrant": 1}
    )
    collector = metrics.WorldCollector(
        lambda: [sample], lambda: 0, ApiBreaker, lambda: stacks, lambda: [logins], lambda: [server], lambda: [used]
    )
    yield from collector.collect()
    backup = BackupSample(cell="local", tenant="acme", age_seconds=0.0)
    yield from BackupCollector(lambda: [backup], each=True).collect()


def test_every_metric_is_on_the_page_with_its_type_and_labels() -> None:
    everywhere = [*vars(metrics).values(), *vars(receiver).values(), *vars(gateway_metrics).values()]
    kept = [value for value in everywhere if hasattr(value, "_labelnames")]
    labels = {value.describe()[0].name: value._labelnames for value in kept}
    labels |= {family.name: tuple(family.samples[0].labels) for family in families() if family.name not in labels}
    expected = {
        family.name + ("_total" if family.type == "counter" else ""): (family.type, tuple(labels[family.name]))
        for family in families()
    }
    listed = {}
    for line in (DOCS / "reference" / "metrics.md").read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"\| `(\w+)` \| (\w+) \|(.*?)\|.*\|", line):
            listed[match[1]] = (match[2], tuple(re.findall(r"`(\w+)`", match[3])))
    assert listed == expected


def test_an_event_that_is_no_condition_is_on_the_page_of_events() -> None:
    page = (DOCS / "reference" / "events.md").read_text(encoding="utf-8")
    for _, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and called(node) == "News" and (reason := reason_of(node)) is not None:
                assert not isinstance(reason, ast.Constant) or f"`{reason.value}`" in page


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_pages_of_the_command_line_and_the_settings_are_what_the_code_says() -> None:
    assert generator().differing() == [], "run python docs/generate.py"


def test_every_variable_that_is_read_is_on_the_page_of_settings() -> None:
    page = (DOCS / "reference" / "settings.md").read_text(encoding="utf-8")
    for path in CODE.rglob("*.py"):
        for variable in re.findall(r"\bPAYBILL_[A-Z]+(?:_[A-Z]+)*\b", path.read_text(encoding="utf-8")):
            assert f"`{variable}`" in page, f"{path} reads {variable}"


def links() -> Iterator[tuple[Path, str]]:
    for page in PAGES:
        text = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\(([^)\s]+)\)", text):
            if not re.match(r"[a-z]+:", target):
                yield page, target


@pytest.mark.parametrize(("page", "target"), list(links()), ids=lambda value: str(getattr(value, "name", value)))
def test_a_link_leads_to_a_page_and_a_heading_that_exist(page: Path, target: str) -> None:
    name, _, anchor = target.partition("#")
    path = (page.parent / name).resolve() if name else page
    assert path.exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_linked_from_another_one() -> None:
    reached = {(page.parent / target.partition("#")[0]).resolve() for page, target in links()}
    lonely = [str(page.relative_to(ROOT)) for page in DOCS.rglob("*.md") if page.resolve() not in reached]
    assert lonely == []


def examples() -> Iterator[tuple[str, dict[str, object]]]:
    for page in PAGES:
        for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
            for document in yaml.safe_load_all(text):
                if document.get("kind") in BY_KIND and "metadata" in document:
                    yield f"{page.name}-{document['kind']}-{document['metadata']['name']}", document


@pytest.mark.parametrize("document", [pytest.param(one, id=name) for name, one in examples()])
def test_an_object_that_is_shown_can_be_read_and_names_no_field_that_is_not_there(document: dict[str, object]) -> None:
    read = BY_KIND[str(document["kind"])].read(document).model_dump(mode="json", by_alias=True, exclude_none=True)
    assert set(fields(document["spec"])) <= set(fields(read["spec"]))


def fields(value: object, path: str = "") -> Iterator[str]:
    match value:
        case dict():
            for name, child in value.items():
                yield f"{path}.{name}"
                yield from fields(child, f"{path}.{name}")
        case list():
            for child in value:
                yield from fields(child, f"{path}[]")


def test_argo_cd_is_told_about_every_kind() -> None:
    folder = ROOT / "manifests" / "argocd"
    health = yaml.safe_load((folder / "health.yaml").read_text(encoding="utf-8"))["data"]
    assert {name.rpartition("_")[2] for name in health} == set(BY_KIND)
    whole = {f"resource.customizations.health.{kind.group}_{name}" for name, kind in BY_KIND.items()}
    assert set(health) == whole
    project = next(iter(yaml.safe_load_all((folder / "application.yaml").read_text(encoding="utf-8"))))
    for scope in ("cluster", "namespace"):
        allowed = {(one["group"], one["kind"]) for one in project["spec"][f"{scope}ResourceWhitelist"]}
        inside = scope == "namespace"
        wanted = {(kind.group, kind.kind) for kind in BY_KIND.values() if (kind.scope == "Namespaced") is inside}
        assert allowed == wanted
