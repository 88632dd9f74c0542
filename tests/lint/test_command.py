"""`runbook lint` as it is called: exit codes, formats, a real Prometheus, and this repository itself."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from lab import monitoring, rules
from runbooklib.lint import all_rules as lint_rules
from runbooklib.lint import formats
from tests.support.known_series import serving
from tests.support.lint_workspace import sound
from tests.support.rule_files import FILES
from tests.support.running import ROOT, Ended, command


def lint(home: Path, *words: str) -> Ended:
    site = {"RUNBOOK_HOME": str(home), "RUNBOOK_ENVIRONMENTS": ""}
    return command(["runbook", "lint", *words], site, cwd=home)


def test_this_repository_is_clean_with_its_own_rules_and_routing(tmp_path: Path) -> None:
    routing = tmp_path / "alertmanager.yml"
    routing.write_text(monitoring.alertmanager_config())
    for times in (rules.LAB, rules.PRODUCTION):
        path = tmp_path / "rules.yml"
        path.write_text(rules.render(times))
        words = ["--rules", str(path), "--alertmanager", str(routing)]
        ended = command(["runbook", "lint", *words])
        assert (ended.code, ended.out) == (0, "")
        assert ended.err.strip().splitlines()[-1] == "0 errors, 0 warnings"


def test_the_document_is_what_the_rules_say() -> None:
    written = formats.document(lint_rules())
    stored = (ROOT / "docs" / "lint.md").read_text()
    assert stored == written, "write it again: runbook lint --explain all > docs/lint.md"


def test_an_error_is_exit_code_1_and_a_line_as_a_compiler_writes_it(tmp_path: Path) -> None:
    home = sound(tmp_path)
    home.edit("parameters/environments/shop.yaml", '  primary: "Ada"\n', "")
    ended = lint(tmp_path)
    assert ended.code == 1
    line = "parameters/environments/shop.yaml:8: owner-missing: `ownership` does not name: primary\n"
    assert ended.out == line
    assert ended.err == "1 errors, 0 warnings\n"


def test_a_warning_is_shown_and_no_failure(tmp_path: Path) -> None:
    home = sound(tmp_path)
    home.edit("parameters/environments/shop.yaml", "2026-11-01", "2020-01-01")
    ended = lint(tmp_path)
    assert (ended.code, ended.out.split(": ")[1]) == (0, "review-overdue")


def test_json_and_sarif_say_the_same_for_programs(tmp_path: Path) -> None:
    home = sound(tmp_path)
    home.edit("rules.yml", "example/ShopSlow", "example/Other")
    words = ["--rules", str(home.rules), "--format"]
    (told,) = json.loads(lint(tmp_path, *words, "json").out)
    assert {told[key] for key in ("rule", "file", "severity")} == {"runbook-url-wrong", "rules.yml", "error"}
    sarif = json.loads(lint(tmp_path, *words, "sarif").out)
    assert sarif["version"] == "2.1.0"
    assert sarif["$schema"].endswith("sarif-2.1.0.json")
    (run,) = sarif["runs"]
    ids = [rule["id"] for rule in run["tool"]["driver"]["rules"]]
    assert ids == [rule.name for rule in lint_rules()]
    (result,) = run["results"]
    assert result["ruleId"] in ids
    assert result["message"]["text"] == told["message"]
    place = result["locations"][0]["physicalLocation"]
    assert place == {
        "artifactLocation": {"uri": told["file"]},
        "region": {"startLine": told["line"]},
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--explain", "ratio-without-flor"], "did you mean 'ratio-without-floor'?"),
        (["--alertmanager", "alertmanager.yml"], "add --rules FILE"),
        (["--rules", "nowhere.yml"], "nowhere.yml does not exist"),
        (["--live", "nowhere"], "there is no environment 'nowhere'"),
    ],
)
def test_bad_input_is_exit_code_3_and_says_what_to_do(tmp_path: Path, words: list[str], told: str) -> None:
    sound(tmp_path)
    ended = lint(tmp_path, *words)
    assert (ended.code, ended.out) == (3, "")
    assert told in ended.err


@pytest.mark.parametrize("deep", ["(" * 60_000 + "x" + ")" * 60_000, "-" * 60_000 + "x"])
def test_an_expression_that_is_too_deep_is_a_finding_and_no_crash(tmp_path: Path, deep: str) -> None:
    home = sound(tmp_path)
    home.edit("rules.yml", 'expr: up{job="shop"} == 0 or absent(up{job="shop"})', f"expr: '{deep}'")
    ended = lint(tmp_path, "--rules", str(home.rules))
    assert ended.code == 1
    assert "promql-syntax: ShopDown: " in ended.out
    assert "is too long to parse" in ended.out


def test_a_bomb_of_aliases_in_a_rule_file_is_not_unfolded(tmp_path: Path) -> None:
    home = sound(tmp_path)
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    home.rules.write_text(bomb + home.rules.read_text())
    ended = lint(tmp_path, "--rules", str(home.rules))
    assert (ended.code, ended.out) == (0, "")


def test_explain_shows_a_rule_with_an_example_of_either_side(tmp_path: Path) -> None:
    sound(tmp_path)
    told = lint(tmp_path, "--explain", "up-without-absent").out
    assert told.startswith("## up-without-absent\n")
    assert "Bad:" in told
    assert "Good:" in told


def test_a_silence_of_a_rule_that_was_not_judged_is_not_called_useless(tmp_path: Path) -> None:
    home = sound(tmp_path)
    told = "# runbook-lint: ignore threshold-differs because of a drill\n"
    stored = tmp_path / "parameters" / "ShopErrors.yaml"
    stored.write_text(stored.read_text() + told + "share_limit: 0.1\n")
    assert lint(tmp_path).code == 0
    assert lint(tmp_path, "--rules", str(home.rules)).code == 0
    stored.write_text(stored.read_text().replace("0.1\n", "0.05\n"))
    assert "silence-of-nothing" in lint(tmp_path, "--rules", str(home.rules)).out


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    def series() -> Iterator[str]:
        now = datetime.now(UTC).timestamp() // 15 * 15
        moments = [now - 15 * number for number in reversed(range(240))]
        for name, kind, value in (("shop_requests", "counter", 5), ("up", "gauge", 0)):
            yield f"# TYPE {name} {kind}\n"
            full = f"{name}_total" if kind == "counter" else name
            for number, at in enumerate(moments):
                yield f'{full}{{job="shop"}} {value * number} {at}\n'
        yield "# EOF\n"

    with serving(tmp_path_factory.mktemp("prometheus"), series()) as url:
        yield url


def test_live_names_series_that_do_not_exist_or_never_move(prometheus: str, tmp_path: Path) -> None:
    home = sound(tmp_path)
    home.edit("parameters/environments/shop.yaml", "http://127.0.0.1:9", prometheus)
    ended = lint(tmp_path, "--rules", str(home.rules), "--live", "shop")
    found = [line.split(": ", 2)[1:] for line in ended.out.splitlines()]
    assert found == [
        ["series-missing", "Prometheus had no series shop_seconds_bucket in the last 1h"],
        ["series-never-nonzero", "up was 0 during the whole last 1h"],
    ]
    assert ended.code == 1


def test_live_names_a_service_whose_labels_no_target_has(prometheus: str, tmp_path: Path) -> None:
    home = sound(tmp_path)
    home.edit("parameters/environments/shop.yaml", "http://127.0.0.1:9", prometheus)
    home.edit("parameters/environments/shop.yaml", 'labels: {job: "shop"}', 'labels: {job: "shpo"}')
    ended = lint(tmp_path, "--live", "shop")
    assert "service-without-target: shop: Prometheus had no target " in ended.out
    assert 'up{job="shpo"} in the last 1h; it has up{job="shop"}' in ended.out
    assert ended.code == 1


def test_live_without_a_prometheus_is_a_failure_and_never_clean(tmp_path: Path) -> None:
    home = sound(tmp_path)
    ended = lint(tmp_path, "--rules", str(home.rules), "--live", "shop")
    assert (ended.code, ended.out) == (4, "")
    assert "the series were not checked: prometheus at http://127.0.0.1:9" in ended.err


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_new_runbook_lints_clean_apart_from_owner_and_prose(file: Path, tmp_path: Path) -> None:
    (tmp_path / "parameters" / "environments").mkdir(parents=True)
    site = (ROOT / "parameters" / "environments" / "lab.yaml").read_text()
    (tmp_path / "parameters" / "environments" / "lab.yaml").write_text(site)
    (tmp_path / "notebooks").mkdir()
    home = {"RUNBOOK_HOME": str(tmp_path), "RUNBOOK_ENVIRONMENTS": ""}
    made = command(["runbook", "new", "--all", "--rules", str(file), "-e", "lab"], home)
    assert made.code == 0, made.err
    ended = command(["runbook", "lint", "--rules", str(file), "--format", "json"], home, cwd=tmp_path)
    found = {one["rule"] for one in json.loads(ended.out) if not one["file"].endswith(file.name)}
    assert found == {"placeholder"}  # what is marked TODO is prose that only a person can write
