"""`runbook new` on rule files that nobody wrote for us: each notebook is whole, and runs at once."""

import json
import os
from pathlib import Path

import nbformat
import pytest

from runbooklib import expression, notebookfile, parameters
from runbooklib.lint.prose import SECTIONS
from runbooklib.rulefile import AlertRule, read_rules
from runbooklib.scaffold import prose, rules_of
from runbooklib.yamlfile import read_mapping
from tests.notebooks import small
from tests.notebooks.running import ROOT, command, errors, notebook

# Debian's alert rules for Ceph: 58 alerts of somebody who never heard of us.
FOREIGN = Path("/etc/prometheus/ceph/ceph_default_alerts.yml")
FILES = [*sorted((ROOT / "tests" / "rulefiles").iterdir()), *([FOREIGN] if FOREIGN.exists() else [])]
RULES = [rule for file in FILES for rule in rules_of(file)]


def test_rules_that_were_not_written_for_us_are_among_them() -> None:
    if not FOREIGN.exists() and os.environ.get("CI") != "true":
        pytest.skip("ceph-prometheus-alerts is not installed: make servers")
    assert len(read_rules(FOREIGN)) > 50


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, str]]:
    folder = tmp_path_factory.mktemp("home")
    site = small.home(folder)
    for file in FILES:
        ended = command(["runbook", "new", "--all", "--rules", str(file), "-e", "down"], site)
        assert ended.code == 0, ended.err
    return folder, site


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.alert)
def test_a_new_runbook_is_whole_and_holds_the_rules_expression_to_the_letter(
    home: tuple[Path, dict[str, str]], rule: AlertRule
) -> None:
    alert, text = rule.alert, rule.expression
    path = home[0] / "notebooks" / f"{alert}.ipynb"
    made = notebookfile.read(path)
    nbformat.validate(made)
    assert notebookfile.canonical(made) == path.read_text()
    headings = [
        line.removeprefix("## ")
        for cell in made["cells"]
        if cell["cell_type"] == "markdown"
        for line in notebookfile.source(cell).splitlines()
        if line.startswith("## ")
    ]
    assert headings == list(SECTIONS)
    cell = next(cell for cell in made["cells"] if "parameters" in cell["metadata"].get("tags", []))
    declared = parameters.declared(notebookfile.source(cell))
    assert declared["expression"].default == text
    assert declared["expression"].help == "the condition, as in the alert rule"
    stored = read_mapping(home[0] / "parameters" / f"{alert}.yaml", "it")
    assert stored == {"service": "backend", "expression": text}
    expression.parse(text)
    for code in (notebookfile.source(c) for c in made["cells"] if c["cell_type"] == "code"):
        compile(code, alert, "exec")


@pytest.mark.parametrize("alert", ["PodNotReady", "KubeletDown", "NodeOddName", "PostgreSQLReplicationLag"])
def test_a_new_runbook_runs_at_once_and_is_unknown_where_nothing_answers(
    home: tuple[Path, dict[str, str]], alert: str, tmp_path: Path
) -> None:
    ended = command(["runbook", "run", alert, "-e", "down", "--output", str(tmp_path), "--json"], home[1])
    assert ended.code == 2, ended.err
    assert (ended.verdict["status"], ended.verdict["failure"]) == ("UNKNOWN", "")
    assert errors(notebook(Path(ended.verdict["bundle"]) / "notebook.ipynb")) == []


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["PodCrashLoping"], "did you mean 'PodCrashLooping'?"),
        ([], "name the alert, or --all, and not both"),
        (["PodNotReady"], "is there already"),
    ],
)
def test_what_cannot_be_made_is_refused_and_nothing_is_replaced(
    home: tuple[Path, dict[str, str]], words: list[str], told: str
) -> None:
    before = {path: path.read_bytes() for path in home[0].rglob("*") if path.is_file()}
    ended = command(["runbook", "new", *words, "--rules", str(FILES[0]), "-e", "down"], home[1])
    assert ended.code == 3
    assert told in ended.err
    assert before == {path: path.read_bytes() for path in home[0].rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", ["../x", "a b", "x'; import os", "", "é" * 10])
def test_a_name_that_could_be_a_path_or_code_is_refused(
    home: tuple[Path, dict[str, str]], name: str, tmp_path: Path
) -> None:
    rules = tmp_path / "rules.yml"
    rules.write_text(json.dumps({"groups": [{"name": "g", "rules": [{"alert": name, "expr": "x > 1"}]}]}))
    ended = command(["runbook", "new", "--all", "--rules", str(rules), "-e", "down"], home[1])
    assert ended.code == 3, ended.out
    assert "runbook: " in ended.err


def test_an_annotation_is_shown_as_its_words_and_never_as_markup_or_template() -> None:
    told = prose('Pod {{ $labels.pod }} is at {{ $value | humanize }} <script>alert(1)</script> [x](javascript:y)')
    assert told.startswith("Pod (the pod) is at (the value) ")
    assert "<script>" not in told.replace("\\<", "")
    assert "](javascript" not in told.replace("\\]", "")


def test_tidy_writes_what_check_complains_of_and_then_has_nothing_to_say(tmp_path: Path) -> None:
    site = small.home(tmp_path)
    small.write(tmp_path, "Small", "x = 1   ")
    path = tmp_path / "notebooks" / "Small.ipynb"
    untidy = path.read_text()
    ended = command(["runbook", "tidy", "--check"], site)
    assert (ended.code, path.read_text()) == (1, untidy)
    assert str(path) in ended.out
    assert command(["runbook", "tidy"], site).code == 0
    assert command(["runbook", "tidy", "--check"], site).code == 0
    assert "--- code" in command(["runbook", "text", str(path)], site).out
