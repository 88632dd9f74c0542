"""Each rule finds its defect, exactly once, where it is, and nothing else: precision and recall are 1."""

import itertools
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from runbooklib.config import notebook_file
from runbooklib.lint import all_rules
from runbooklib.lint.rules import live
from tests.support.lint_workspace import PROSE, Home, sound

Defect = Callable[[Home], None]
ERRORS = "notebooks/ShopErrors.ipynb"
SLOW = "notebooks/ShopSlow.ipynb"
DOWN = "notebooks/ShopDown.ipynb"
SITE = "parameters/environments/shop.yaml"
VALUES = "parameters/ShopErrors.yaml"


def edit(name: str, old: str, new: str) -> Defect:
    return lambda home: home.edit(name, old, new)


def cell(alert: str, name: str, change: Callable[[str], str]) -> Defect:
    return lambda home: home.recell(alert, name, change)


def asks(code: str, alert: str = "ShopSlow") -> Defect:
    return cell(alert, "related-alerts", lambda source: f"{source}\n{code}")


def both(*defects: Defect) -> Defect:
    def all_of(home: Home) -> None:
        for defect in defects:
            defect(home)

    return all_of


def appended(name: str, line: str) -> Defect:
    def append(home: Home) -> None:
        path = home.folder / name
        path.write_text(path.read_text() + line)

    return append


def removed(pattern: str) -> Defect:
    def remove(home: Home) -> None:
        for path in list(home.folder.rglob(pattern)):
            path.unlink()

    return remove


def uncommented(home: Home) -> None:
    """The notebook no longer says that its condition is the rule's."""
    path = home.folder / DOWN
    path.write_text(path.read_text().replace("the condition, as in the alert rule", "the condition"))


def stray_values(home: Home) -> None:
    (home.folder / "parameters" / "ShopGone.yaml").write_text("service: shop\n")


def without(alert: str, heading: str) -> Defect:
    def drop(home: Home) -> None:
        def change(cells: list[dict[str, object]]) -> None:
            at = next(n for n, one in enumerate(cells) if one["source"] == [heading])
            del cells[at : at + 2]

        home.reorder(alert, change)

    return drop


def swapped(home: Home) -> None:
    def move(cells: list[dict[str, object]]) -> None:
        at = next(n for n, one in enumerate(cells) if one["source"] == ["## Resources"])
        moved = cells[at : at + 2]
        del cells[at : at + 2]
        cells.extend(moved)

    home.reorder("ShopDown", move)


def with_output(home: Home) -> None:
    path = home.folder / DOWN
    notebook = json.loads(path.read_text())
    code = next(one for one in notebook["cells"] if one["id"] == "related-alerts")
    code["execution_count"] = 7
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


def two_parameter_cells(home: Home) -> None:
    def change(cells: list[dict[str, object]]) -> None:
        cells[2]["metadata"] = {"tags": ["parameters"]}

    home.reorder("ShopDown", change)


def unreadable(home: Home) -> None:
    (home.folder / "parameters" / "environments" / "other.yaml").write_text("title: [")


def renamed_alert(home: Home) -> None:
    """The rule got another name, and its link with it; the runbook did not."""
    text = home.rules.read_text()
    home.rules.write_text(text.replace("ShopSlow", "ShopSluggish"))
    home.edit("alertmanager.yml", 'alertname="ShopSlow"', 'alertname="ShopSluggish"')


# name of the defect -> (the defect, the rule, the file, what stands on the line)
DEFECTS: dict[str, tuple[Defect, str, str, str]] = {
    "a file that is no YAML": (unreadable, "unreadable", "parameters/environments/other.yaml", "title"),
    "a section is missing": (without("ShopSlow", "## Past incidents"), "section-missing", SLOW, "{"),
    "a section stands elsewhere": (swapped, "section-out-of-order", DOWN, "## Resources"),
    "a section is empty": (
        lambda home: home.reorder(
            "ShopSlow",
            lambda cells: cells.__delitem__(
                next(n for n, one in enumerate(cells) if one["source"] == ["## Upkeep"]) + 1
            ),
        ),
        "section-empty",
        SLOW,
        "## Upkeep",
    ),
    "nobody says why it matters": (
        cell("ShopSlow", "alert", lambda source: source.replace("**Why it matters.** ", "")),
        "alert-unexplained",
        SLOW,
        "## The alert",
    ),
    "a TODO is left": (
        cell("ShopSlow", "alert", lambda source: source.replace(PROSE, "TODO: what users notice")),
        "placeholder",
        SLOW,
        "TODO",
    ),
    "a placeholder of the template is left": (
        cell("ShopSlow", "after", lambda source: f"{source}\n\nCall name@ or <your team>"),
        "placeholder",
        SLOW,
        "name@",
    ),
    "two cells of parameters": (two_parameter_cells, "parameters-cell", DOWN, "{"),
    "a parameter has no type": (
        cell("ShopErrors", "parameters", lambda source: f"{source}\nmore = 1"),
        "parameters-cell",
        ERRORS,
        "",
    ),
    "a parameter has no comment": (
        cell("ShopErrors", "parameters", lambda source: f"{source}\nmore: int = 1"),
        "parameter-without-comment",
        ERRORS,
        "more: int",
    ),
    "a count is kept": (with_output, "outputs-kept", DOWN, "related_alerts"),
    "a notebook is not tidy": (
        appended(DOWN, "\n"),
        "untidy",
        DOWN,
        "{",
    ),
    "a cell decides": (asks("if True:\n    incident.check(scraped)"), "logic-in-cell", SLOW, "if True"),
    "a cell computes": (asks("limit = 1 + 1"), "logic-in-cell", SLOW, "limit = 1"),
    "a cell calls the shell": (asks("!ls"), "logic-in-cell", SLOW, "!ls"),
    "a cell loops within": (
        asks("incident.check(alert_expression, expression=[x for x in 'a'][0])"),
        "logic-in-cell",
        SLOW,
        "for x in",
    ),
    "a cell imports a client": (asks("import docker"), "mutation-outside-action", SLOW, "import docker"),
    "a cell changes something": (
        asks("incident.sources.docker.container('x').restart()"),
        "mutation-outside-action",
        SLOW,
        "restart()",
    ),
    "a check that is not there": (asks("incident.check(eror_rate)"), "unknown-name", SLOW, "eror_rate"),
    "a check before the incident is open": (
        cell("ShopSlow", "open", lambda source: source.replace("\n\n", "\n\nincident.check(scraped)\n", 1)),
        "unknown-name",
        SLOW,
        "incident.check(scraped)",
    ),
    "a method that is not there": (asks("incident.chekc(scraped)"), "unknown-name", SLOW, "chekc"),
    "a limit that is not there": (
        asks("incident.check(response_time, over=1)"),
        "unknown-limit",
        SLOW,
        "over=1",
    ),
    "a limit that is needed": (asks("incident.check(response_time)"), "unknown-limit", SLOW, "response_time"),
    "an undeclared value": (
        appended(VALUES, "sharelimit: 0.05\n"),
        "parameter-undeclared",
        VALUES,
        "sharelimit",
    ),
    "values of no alert": (
        stray_values,
        "parameter-undeclared",
        "parameters/ShopGone.yaml",
        "service",
    ),
    "a value of another type": (
        appended(VALUES, 'share_limit: "0.05"\n'),
        "parameter-type",
        VALUES,
        "share_limit",
    ),
    "nobody to call": (
        edit(
            SITE,
            'contacts:\n  - {role: "On-call", name: "Ada", reach: "ada@shop.example"}\n',
            "contacts: []\n",
        ),
        "contacts-missing",
        SITE,
        "contacts",
    ),
    "nobody keeps it": (edit(SITE, '  primary: "Ada"\n', ""), "owner-missing", SITE, "ownership"),
    "nobody says when it was read": (
        edit(SITE, '  last_reviewed: "2026-11-01"\n', ""),
        "review-missing",
        SITE,
        "ownership",
    ),
    "a review is overdue": (
        edit(SITE, "2026-11-01", "2026-01-01"),
        "review-overdue",
        SITE,
        "last_reviewed",
    ),
    "an alert without runbook": (
        removed("ShopDown.*"),
        "alert-without-runbook",
        "rules.yml",
        "alert: ShopDown",
    ),
    "a link is missing": (
        edit("rules.yml", "          runbook_url: https://runbooks.example/ShopSlow\n", ""),
        "runbook-url-missing",
        "rules.yml",
        "alert: ShopSlow",
    ),
    "a link leads elsewhere": (
        edit("rules.yml", "example/ShopSlow", "example/ShopSlowly#top"),
        "runbook-url-wrong",
        "rules.yml",
        "runbook_url",
    ),
    "a link opens another alert's": (
        edit("rules.yml", "open?alertname=ShopDown", "open?alertname=ShopSlow"),
        "runbook-url-wrong",
        "rules.yml",
        "runbook_url",
    ),
    "a limit of another number": (
        cell("ShopErrors", "parameters", lambda source: source.replace("float = 0.05", "float = 0.1")),
        "threshold-differs",
        ERRORS,
        "share_limit",
    ),
    "a stored limit of another number": (
        appended(VALUES, "share_limit: 0.1\n"),
        "threshold-differs",
        VALUES,
        "share_limit",
    ),
    "another condition": (
        edit("parameters/ShopSlow.yaml", "> 0.5", "> 0.1"),
        "threshold-differs",
        "parameters/ShopSlow.yaml",
        "expression",
    ),
    "an expression that is none": (
        both(
            edit("rules.yml", 'expr: up{job="shop"} == 0 or absent(up{job="shop"})', "expr: up{ == 0"),
            uncommented,
        ),
        "promql-syntax",
        "rules.yml",
        "expr: up{",
    ),
    "a metric that is not there": (
        both(
            edit("rules.yml", "shop_seconds_bucket", "shop_second_bucket"),
            edit("parameters/ShopSlow.yaml", "shop_seconds_bucket", "shop_second_bucket"),
            edit(SLOW, "shop_seconds_bucket", "shop_second_bucket"),
        ),
        "unknown-metric",
        "rules.yml",
        "shop_second_bucket",
    ),
    "a label that is not there": (
        both(
            edit("rules.yml", "by (le) (rate(shop_seconds", "by (le, colour) (rate(shop_seconds"),
            edit("parameters/ShopSlow.yaml", "by (le)", "by (le, colour)"),
            edit(SLOW, "by (le)", "by (le, colour)"),
        ),
        "unknown-label",
        "rules.yml",
        "colour",
    ),
    "buckets that are not summed": (
        both(
            edit("rules.yml", "sum by (le) (rate(shop_seconds_bucket[5m]))", "rate(shop_seconds_bucket[5m])"),
            edit(
                "parameters/ShopSlow.yaml",
                "sum by (le) (rate(shop_seconds_bucket[5m]))",
                "rate(shop_seconds_bucket[5m])",
            ),
        ),
        "unsummed-buckets",
        "rules.yml",
        "histogram_quantile",
    ),
    "a threshold between buckets": (
        both(edit("rules.yml", "> 0.5", "> 0.7"), edit("parameters/ShopSlow.yaml", "> 0.5", "> 0.7")),
        "threshold-between-buckets",
        "rules.yml",
        "histogram_quantile",
    ),
    "a share without a floor": (
        both(
            edit("rules.yml", "            and sum(rate(shop_requests_total[5m])) > 1\n", ""),
            edit(VALUES, "\\n  and sum(rate(shop_requests_total[5m])) > 1", ""),
        ),
        "ratio-without-floor",
        "rules.yml",
        "expr: |",
    ),
    "up without absent": (
        both(
            edit("rules.yml", ' or absent(up{job="shop"})', ""),
            edit("parameters/ShopDown.yaml", ' or absent(up{job=\\"shop\\"})', ""),
        ),
        "up-without-absent",
        "rules.yml",
        "expr: up",
    ),
    "a rate that is told per hour": (
        both(
            edit(
                "rules.yml",
                'expr: up{job="shop"} == 0 or absent(up{job="shop"})',
                "expr: sum(rate(shop_requests_total[5m])) > 9",
            ),
            edit("rules.yml", 'summary: "The shop is down"', 'summary: "{{ $value }} in the last hour"'),
            edit(
                "parameters/ShopDown.yaml",
                'up{job=\\"shop\\"} == 0 or absent(up{job=\\"shop\\"})',
                "sum(rate(shop_requests_total[5m])) > 9",
            ),
        ),
        "rate-misdescribed",
        "rules.yml",
        "last hour",
    ),
    "Alertmanager cannot read it": (
        edit("alertmanager.yml", "  - name: shop\n", "  - name: shop\n    nonsense_configs: []\n"),
        "routing-invalid",
        "alertmanager.yml",
        "",
    ),
    "a route that nobody takes": (
        edit("alertmanager.yml", 'matchers: [severity="warning"]', 'matchers: [severity="fatal"]'),
        "route-never-matches",
        "alertmanager.yml",
        "receiver: on-call",
    ),
    "a route behind one that takes all": (
        edit("alertmanager.yml", 'matchers: [team="shop", severity="critical"]', 'matchers: [team="shop"]'),
        "route-never-matches",
        "alertmanager.yml",
        "receiver: on-call",
    ),
    "an inhibition that never meets": (
        both(
            edit("alertmanager.yml", 'alertname="ShopErrors"', 'alertname="ShopDown"'),
            edit("alertmanager.yml", "equal: [team]", "equal: [job]"),
        ),
        "inhibition-never-meets",
        "alertmanager.yml",
        "source_matchers",
    ),
    "a receiver that nobody names": (
        edit("alertmanager.yml", "  - name: shop\n", "  - name: shop\n  - name: old-team\n"),
        "receiver-unused",
        "alertmanager.yml",
        "old-team",
    ),
    "a silence without a reason": (
        edit(
            SITE,
            '  last_reviewed: "2026-11-01"\n',
            '  # runbook-lint: ignore review-overdue\n  last_reviewed: "2026-01-01"\n',
        ),
        "silence-without-reason",
        SITE,
        "runbook-lint",
    ),
    "a silence of nothing": (
        edit(SITE, "ownership:\n", "# runbook-lint: ignore owner-missing because we are few\nownership:\n"),
        "silence-of-nothing",
        SITE,
        "runbook-lint",
    ),
}
# A defect of the first kind brings the second along, whatever one does.
PAIRS = {"runbook-without-alert"}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    made = sound(tmp_path)
    monkeypatch.chdir(tmp_path)
    return made


def test_a_sound_folder_has_no_finding(home: Home) -> None:
    assert home.lint() == []


@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_once_where_it_is_and_nothing_else(home: Home, name: str) -> None:
    defect, rule, file, fragment = DEFECTS[name]
    defect(home)
    found = home.lint()
    assert [(message.name, message.file) for message in found] == [(rule, file)], [str(m) for m in found]
    lines = (home.folder / file).read_text().split("\n")
    assert fragment in lines[found[0].line - 1], found[0]


def test_an_alert_that_was_renamed_leaves_two_findings_one_on_either_side(home: Home) -> None:
    renamed_alert(home)
    assert [(m.name, m.file) for m in home.lint()] == [
        ("runbook-without-alert", SLOW),
        ("alert-without-runbook", "rules.yml"),
    ]


def test_every_rule_has_its_defect_here() -> None:
    told = {rule for _, rule, _, _ in DEFECTS.values()} | PAIRS | {rule.name for rule in live.RULES}
    assert {rule.name for rule in all_rules()} == told


# Defects that do not touch the same text can stand beside each other.
TOGETHER = [
    "a file that is no YAML",
    "a section is missing",
    "a section stands elsewhere",
    "a TODO is left",
    "a parameter has no comment",
    "a cell decides",
    "an undeclared value",
    "nobody keeps it",
    "a review is overdue",
    "a link leads elsewhere",
    "a threshold between buckets",
    "up without absent",
    "a receiver that nobody names",
]


def test_many_defects_at_once_are_each_found_once(home: Home) -> None:
    for name in TOGETHER:
        DEFECTS[name][0](home)
    found = sorted((message.name, message.file) for message in home.lint())
    assert found == sorted((rule, file) for _, rule, file, _ in (DEFECTS[name] for name in TOGETHER))


@pytest.mark.parametrize(("one", "other"), list(itertools.pairwise(TOGETHER)))
def test_two_defects_do_not_hide_each_other(home: Home, one: str, other: str) -> None:
    for name in (one, other):
        DEFECTS[name][0](home)
    assert len(home.lint()) == 2


def test_a_silence_with_a_reason_silences_its_line_and_its_cell(home: Home) -> None:
    home.edit(
        SITE,
        '  last_reviewed: "2026-11-01"\n',
        '  # runbook-lint: ignore review-overdue because we move house\n  last_reviewed: "2026-01-01"\n',
    )
    home.recell(
        "ShopSlow",
        "after",
        lambda source: f"{source}\n<!-- runbook-lint: ignore placeholder because it is a quotation -->\nTODO",
    )
    asks("# runbook-lint: ignore logic-in-cell because a drill\nlimit = 1 + 1")(home)
    assert home.lint() == []


def test_notebooks_here_name_the_lines_that_an_editor_can_jump_to(home: Home) -> None:
    asks("limit = 1 + 1")(home)
    (found,) = home.lint()
    assert json.loads((home.folder / SLOW).read_text().split("\n")[found.line - 1].strip()) == "limit = 1 + 1"
    assert notebook_file.read(home.folder / SLOW)
