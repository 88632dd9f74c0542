"""Rule files of others: plain, Kubernetes, several documents, hostile."""

import json
from pathlib import Path

import pytest

from runbooklib.config.rule_file import read_rules
from runbooklib.errors import SettingsError
from tests.support.running import ROOT

RULEFILES = ROOT / "tests" / "support" / "rule_files"
RULE = "groups: [{name: g, rules: [{alert: A, expr: 'x > 1'}]}]\n"


def read(folder: Path, text: str) -> tuple[str, ...]:
    path = folder / "rules.yml"
    path.write_text(text)
    return tuple(rule.alert for rule in read_rules(path))


def test_every_alert_of_every_file_is_read_and_no_recording_rule() -> None:
    counted = {path.name: len(read_rules(path)) for path in RULEFILES.iterdir()}
    assert counted == {"kubernetes.yaml": 11, "node.yml": 9, "postgres.yml": 5}


def test_a_rule_has_its_line_its_texts_and_its_seconds() -> None:
    rules = {rule.alert: rule for rule in read_rules(RULEFILES / "postgres.yml")}
    down, lag = rules["PostgreSQLDown"], rules["PostgreSQLReplicationLag"]
    lines = (RULEFILES / "postgres.yml").read_text().splitlines()
    assert lines[down.line - 1].strip() == "- alert: PostgreSQLDown"
    assert (down.for_seconds, down.group) == (60.0, "postgres")
    assert rules["PostgreSQLMaxConnectionsReached"].labels == {"severity": "critical", "team": "database"}
    assert lag.labels == {"severity": "true"}  # as it is written, and not a boolean


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("5m", 300), ("1h30m", 5400), ("500ms", 0.5), ("1d12h", 129600), ("0", 0), ("0s", 0), ("", 0)],
)
def test_durations_are_those_of_prometheus(tmp_path: Path, text: str, seconds: float) -> None:
    path = tmp_path / "rules.yml"
    path.write_text(f"groups: [{{name: g, rules: [{{alert: A, expr: x, for: {text}}}]}}]\n")
    assert read_rules(path)[0].for_seconds == seconds


def test_several_documents_and_lists_of_manifests_are_read(tmp_path: Path) -> None:
    listed = "kind: List\nitems:\n  - spec:\n      groups: [{name: h, rules: [{alert: B, expr: y}]}]\n"
    service = "kind: Service\nspec: {ports: [1]}\n---\nkind: Namespace\n"
    assert read(tmp_path, f"{RULE}---\n{listed}---\n{service}---\n") == ("A", "B")


@pytest.mark.parametrize(
    "text", ["", "# nothing yet\n", "groups:\n", "groups: []\n", "groups: [{name: g, rules: }]"]
)
def test_a_rule_file_may_be_empty(tmp_path: Path, text: str) -> None:
    assert read(tmp_path, text) == ()


def test_json_is_read_with_the_lines_of_its_alerts(tmp_path: Path) -> None:
    path = tmp_path / "rules.json"
    rule = {"alert": "A", "expr": 'x{a="\\t"} > 1', "for": "1m"}
    path.write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}, indent="\t"))
    found = read_rules(path)[0]
    assert (found.expression, found.for_seconds) == ('x{a="\\t"} > 1', 60.0)
    assert '"alert"' in path.read_text().splitlines()[found.line - 1]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1\n", "rules.yml:2"),
        ("spam: 1\n", "rules.yml:1: has no `groups`"),
        ("- spam\n", "rules.yml:1: expected `name: value` lines"),
        ("groups: {name: g}\n", "rules.yml:1: expected a list"),
        ("groups:\n- name: g\n  rules: {alert: A}\n", "rules.yml:3: expected a list"),
        (RULE.replace("expr", "labels: {a: [b]}, expr"), "rules.yml:1: expected text"),
        (f"x: &x {{a: b}}\n{RULE}".replace("expr", "labels: {<<: *x}, expr"), "merge keys are not supported"),
        ("groups:\n{{- range .Values }}\n- name: {{ . }}\n", "render it with Helm first"),
        ("a: \x07\n", "is not valid YAML"),
        (RULE.replace("'x > 1'", "''"), "rules.yml:1: an alert needs a name and an `expr`"),
        (RULE.replace("expr", "for: 5 minutes, expr"), "`for: 5 minutes` is not a duration"),
        (RULE.replace("expr", "for: 5m1h, expr"), "`for: 5m1h` is not a duration"),
        ("[" * 50_000, "nested too deeply"),
        ("- " * 50_000, "nested too deeply"),
        ("? " * 50_000, "nested too deeply"),
        ("".join(f"{' ' * n}a:\n" for n in range(200)), "rules.yml:101: is nested too deeply"),
        ("[# ]\n" * 50_000, "nested too deeply"),
        ("#" * 5_000_001, "larger than 5,000,000 bytes"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=r"rules\.yml") as caught:
        read(tmp_path, text)
    assert told in str(caught.value)


def test_an_alias_bomb_is_never_unfolded_and_a_tag_constructs_nothing(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 60))
    assert read(tmp_path, bomb + RULE) == ("A",)
    lists = "kind: List\nitems:\n- &a0 {kind: List, items: []}\n" + "".join(
        f"- &a{n} {{kind: List, items: [*a{n - 1}, *a{n - 1}]}}\n" for n in range(1, 60)
    )
    assert read(tmp_path, f"{lists}---\n{RULE}") == ("A",)
    many = "".join(f"- &r{n} {{record: A, expr: x}}\n" for n in range(3000))
    again = "- {rules: *rules}\n" * 3000
    with pytest.raises(SettingsError, match="more than 20,000 rules"):
        read(tmp_path, f"rules: &rules\n{many}groups:\n{again}")
    canary = tmp_path / "canary"
    tag = f"x: !!python/object/apply:os.system ['touch {canary}']\n"
    assert read(tmp_path, tag + RULE) == ("A",)
    assert not canary.exists()
