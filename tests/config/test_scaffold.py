"""What a rule becomes in a new runbook: prose that executes nothing, and parameters to the letter."""

from pathlib import Path

import pytest

from runbooklib.config import notebook_file, parameters
from runbooklib.config.rule_file import AlertRule
from runbooklib.config.scaffold import prose, rule_of, rules_of, write
from runbooklib.config.yaml_file import read_mapping
from runbooklib.errors import InputError, ParameterError, UnknownAlertError


def rule(expression: str = "x > 1", alert: str = "Alert", **more: object) -> AlertRule:
    told = {
        "for_seconds": 0.0,
        "labels": {},
        "annotations": {},
        "group": "g",
        "file": "r.yml",
        "line": 7,
        **more,
    }
    return AlertRule(alert=alert, expression=expression, **told)  # type: ignore[arg-type]


def cells(folder: Path, *rules: AlertRule) -> dict[str, str]:
    written = write(rules[0], folder, environment="here", service="it", others=rules[1:])
    made = notebook_file.read(written.notebook)
    return {cell["id"]: notebook_file.source(cell) for cell in made["cells"]}


@pytest.mark.parametrize(
    "text",
    [
        'x{a="\\\\d \\"quoted\\" #"} > 1',
        "x{a='it\\'s'} > 1",
        "x{a=`\\d+`}\n  > 1 # a comment's end\n",
        'x{a="  two  spaces", b="{{ $labels.c }} é 警"} > 1',
        'x{a="""} > 1'.replace('"""', '"\\"\\"\\""'),
        'x{a="${HOME} %s {0}"} > 1',
    ],
)
def test_an_expression_survives_to_the_letter(text: str, tmp_path: Path) -> None:
    found = cells(tmp_path, rule(text))
    assert parameters.parse_declarations(found["parameters"])["expression"].default == text
    assert read_mapping(tmp_path / "parameters" / "Alert.yaml", "it")["expression"] == text
    assert (
        "incident.check(alert_expression, expression=expression, severity=severity)"
        in found["alert-expression"]
    )


def test_several_rules_of_a_name_are_all_asked_with_their_severity(tmp_path: Path) -> None:
    fast, slow = (
        rule(text, labels={"severity": severity}, for_seconds=seconds)
        for text, severity, seconds in (("x > 9", "critical", 120.0), ("x > 3", "warning", 5400.0))
    )
    found = cells(tmp_path, fast, slow)
    declared = parameters.parse_declarations(found["parameters"])
    told = {name: one.default for name, one in declared.items() if name.startswith(("exp", "sev"))}
    assert told == {
        "severity": "critical",
        "expression": "x > 9",
        "severity_2": "warning",
        "expression_2": "x > 3",
    }
    assert found["alert-expression"].splitlines() == [
        "incident.check(alert_expression, expression=expression, severity=severity)",
        "incident.check(alert_expression, expression=expression_2, severity=severity_2)",
    ]
    assert (
        "one of its 2 rules is true: for 2 minutes (severity critical); for 90 minutes (severity warning)"
        in found["alert"]
    )


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.0, "is true (sev"), (0.5, "for 0.5 seconds"), (3600.0, "for 1 hour ("), (1209600.0, "for 14 days")],
)
def test_how_long_it_must_last_is_said_in_words(seconds: float, told: str, tmp_path: Path) -> None:
    assert told in cells(tmp_path, rule(for_seconds=seconds, labels={"severity": "page"}))["alert"]


def test_what_it_fires_for_is_said_and_a_bucket_is_no_such_thing(tmp_path: Path) -> None:
    text = "histogram_quantile(0.9, sum by (le, an_endpoint) (rate(x_bucket[5m]))) > 1"
    assert "It fires for each an\\_endpoint." in cells(tmp_path, rule(text))["alert"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{{ $labels.pod }} is at {{ $value | humanizePercentage }}", "(the pod) is at (the value)"),
        ("{{if gt $value 1.0}}{{ $value }} are{{ else }}one is{{end}} down", "(the value) are/one is down"),
        ('{{- range query "up == 0" }} {{ .Labels.instance }}{{- end }} gone', "(the instance) gone"),
        ('{{ $min := query "x" | first | value }}You have {{ $min }}', "You have"),
        ("a   b\n\nc", "a b c"),
        ("costs $5 and $6", "costs `$`5 and `$`6"),
        (r"\(x\) $$y$$ `$`", r"`\`(x`\`) `$$`y`$$` \``$`\`"),
        ("<b>x</b> [y](javascript:z) `!ls`", "\\<b\\>x\\</b\\> \\[y\\](javascript:z) \\`!ls\\`"),
    ],
)
def test_an_annotation_is_shown_as_its_words_and_never_as_markup_or_template(text: str, told: str) -> None:
    assert prose(text) == told


@pytest.mark.parametrize(
    "url", ["javascript:alert(1)", "https://a b", "https://a/{{ $labels.x }}", "ftp://x"]
)
def test_a_link_that_is_none_is_left_out(url: str, tmp_path: Path) -> None:
    assert "names this page" not in cells(tmp_path, rule(annotations={"runbook_url": url}))["alert"]


@pytest.mark.parametrize("alert", ["../x", "a b", "x'; import os", "", "é", "1x", "a" * 101])
def test_a_name_that_could_be_a_path_or_code_is_refused(alert: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"r\.yml:7: .* cannot be the name of a runbook"):
        write(rule(alert=alert), tmp_path, environment="here", service="it")
    assert list(tmp_path.rglob("*")) == []


def test_what_is_no_promql_is_refused_and_nothing_is_written(tmp_path: Path) -> None:
    bad = rule("x > {{ .Values.limit }}")
    with pytest.raises(ParameterError, match="is not PromQL"):
        write(rule(), tmp_path, environment="here", service="it", others=[bad])
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("there", ["notebooks/Alert.ipynb", "parameters/Alert.yaml"])
def test_nothing_is_overwritten(there: str, tmp_path: Path) -> None:
    (tmp_path / there).parent.mkdir()
    (tmp_path / there).write_text("mine")
    with pytest.raises(InputError, match="already has a runbook"):
        write(rule(), tmp_path, environment="here", service="it")
    assert [path.read_text() for path in tmp_path.rglob("*") if path.is_file()] == ["mine"]


def test_rules_of_one_name_belong_together_in_the_order_of_the_file(tmp_path: Path) -> None:
    file = tmp_path / "rules.yml"
    told = ", ".join(f"{{alert: {name}, expr: x > {number}}}" for number, name in enumerate("BAB"))
    file.write_text(f"groups: [{{name: g, rules: [{told}]}}]")
    assert {name: [one.expression for one in own] for name, own in rules_of(file).items()} == {
        "B": ["x > 0", "x > 2"],
        "A": ["x > 1"],
    }
    with pytest.raises(UnknownAlertError, match="there are: A, B"):
        rule_of(file, "Q")
