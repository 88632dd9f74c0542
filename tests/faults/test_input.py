"""F68 to F70, H01 to H04, H08: names, types, places and templates that cannot become code.

A kernelspec that leaves a mark stands in the place of the usual one: no mark, no kernel. That it does leave
one is tested first.
"""

import ast
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import runbooklib
from tests.support import small
from tests.support.bench import Bench, made_bench
from tests.support.running import DOWN, ROOT, command, notebook, outputs
from tests.support.survey import Survey


@pytest.fixture
def bench(tmp_path: Path, survey: Survey) -> Bench:
    return made_bench(tmp_path, survey)


@pytest.mark.row("F67", "F68", "F69", "F70", "H01", "H02", "H03", "H05", "H06", "H07", "H08")
def test_a_run_that_is_not_refused_leaves_the_mark_of_its_kernel(bench: Bench) -> None:
    bench.declare('note: str = "x"\n', small.CHECK)
    bench.write("Small.yaml", "note: well\nenvironment: down\n")
    ended = bench.run("-p", "lookback=30m")
    assert ended.code == 2, ended.err
    assert bench.kernel_mark.exists()
    assert Path(ended.verdict["bundle"]).is_dir()


@pytest.mark.row("F68")
@pytest.mark.parametrize("name", ["lookbak", "Lookback", "look_back", "lookback "])
def test_a_parameter_that_is_not_there_is_refused_and_the_nearest_one_offered(
    bench: Bench, name: str
) -> None:
    told = f"there is no parameter {name!r} (did you mean 'lookback'?)"
    bench.refused("-p", f"{name}=2h", expected_words=["-p: " + told])
    bench.write("Small.yaml", f"{json.dumps(name)}: 2h\n")
    bench.refused(expected_words=["parameters/Small.yaml: " + told])


@pytest.mark.row("F68")
def test_a_setting_that_is_not_there_is_refused_and_the_nearest_one_offered(bench: Bench) -> None:
    bench.write("environments/down.yaml", DOWN.replace("containers:", "contaners:"))
    bench.refused(
        expected_words=["services.backend.contaners is not a known name", "did you mean 'containers'?"]
    )


@pytest.mark.row("F68")
@pytest.mark.parametrize(("option", "near"), [("-e dwn", "down"), ("-s backened", "backend")])
def test_a_place_that_is_not_there_is_refused_and_never_the_default_taken(
    bench: Bench, option: str, near: str
) -> None:
    bench.refused(*option.split(), expected_words=[f"did you mean {near!r}?"])


TYPES = 'count: int = 3\nshare: float = 0.5\nis_dry: bool = True\nnote: str = "x"\n'
WRONG = [
    ("count", "1.5"), ("count", '"1"'), ("count", "true"), ("count", "null"), ("count", "[1]"),
    ("share", "high"), ("share", "'0.1'"), ("share", "true"), ("share", ".nan"), ("share", ".inf"),
    ("is_dry", "1"), ("is_dry", "'true'"), ("is_dry", "maybe"),
    ("note", "5"), ("note", "true"), ("note", "null"), ("note", "[a]"), ("note", "{a: b}"), ("note", "0.5"),
]  # fmt: skip
TWO_WAYS = "007 NO no Yes on off y 12:34:56 1:30 0o17 0x1F 0b1 10_000 1e3".split()


@pytest.mark.row("F69")
@pytest.mark.parametrize(("name", "value"), WRONG)
def test_a_value_of_another_type_is_refused(bench: Bench, name: str, value: str) -> None:
    bench.declare(TYPES)
    bench.write("Small.yaml", f"{name}: {value}\n")
    bench.refused(expected_words=["parameters/Small.yaml"])


@pytest.mark.row("F69")
@pytest.mark.parametrize("word", TWO_WAYS)
def test_a_word_that_yaml_may_read_in_two_ways_is_refused_for_every_type(bench: Bench, word: str) -> None:
    bench.declare(TYPES)
    for name in ("note", "count", "is_dry"):
        bench.write("Small.yaml", f"lookback: 1h\n{name}: {word}\n")
        bench.refused(expected_words=[f"line 2, column {len(name) + 3}: {word} is ambiguous; quote it"])


@pytest.mark.row("F69")
@pytest.mark.parametrize(
    "given",
    [
        *["count=007", "count=1_000", "count=\uff11\uff12", "count= 5", "count=1.0", "count=", "count=0x1F"],
        *["share=1_0.5", "share=nan", "share=-inf", "share=1e999", "share=.", "share=", "share=05"],
        *["is_dry=yes", "is_dry=NO", "is_dry=1", "is_dry=tRuE", "is_dry=", "count=" + "9" * 30],
    ],
)
def test_text_on_the_command_line_is_read_as_strictly(bench: Bench, given: str) -> None:
    bench.declare(TYPES)
    bench.refused("-p", given, expected_words=[f"-p: {given.partition('=')[0]} must be"])


@pytest.mark.row("F70")
def test_a_parameter_without_a_default_must_be_given(bench: Bench) -> None:
    bench.declare("region: str  # where to look\nlimit: int\n", "print(region, limit)")
    bench.refused(
        expected_words=[
            "region (str: where to look) is required",
            "add -p region=…",
            "parameters/Small.yaml",
        ]
    )
    bench.refused("-p", "region=north", expected_words=["limit (int) is required"])
    bench.write("Small.yaml", "limit: 5\n")
    bench.refused(expected_words=["region (str: where to look) is required"])
    ended = bench.run("-p", "region=north")
    printed = [
        one["text"]
        for one in outputs(notebook(Path(ended.verdict["bundle"]) / "notebook.ipynb"))
        if "text" in one
    ]
    assert printed == ["north 5\n"]


@pytest.mark.row("F70")
def test_a_run_that_names_no_place_is_refused_with_the_places_that_there_are(bench: Bench) -> None:
    bench.write("environments/other.yaml", DOWN)
    bench.write("Small.yaml", 'environment: ""\n')
    bench.refused(expected_words=["environment is required", "--environment NAME; known names: down, other"])
    bench.write("Small.yaml", 'service: ""\n')
    bench.refused(expected_words=["service is required", "--service NAME; known names: backend"])


@pytest.mark.row("F70")
def test_a_secret_that_is_not_set_makes_its_system_unknown_and_the_others_are_asked(bench: Bench) -> None:
    bench.environment["DOWN_PASSWORD"] = ""
    bench.declare("", "incident.check(database_answers)", small.CHECK)
    ended = bench.run()
    assert ended.code == 2, ended.err
    database, errors = (
        next(finding for finding in ended.verdict["not_checked"] if finding["check"] == name)
        for name in ("database_answers", "error_rate")
    )
    assert "not configured" in database["says"].lower()
    assert "DOWN_PASSWORD is not set" in database["says"]
    assert "127.0.0.1:9" in errors["says"]


@pytest.mark.row("F70")
def test_a_system_with_a_wrong_setting_is_unknown_and_the_others_are_asked(bench: Bench) -> None:
    bench.write("environments/down.yaml", DOWN.replace("dsn:", "dns:"))
    bench.declare("", "incident.check(database_answers)", small.CHECK)
    ended = bench.run()
    assert ended.code == 2, ended.err
    database, errors = (
        next(finding for finding in ended.verdict["not_checked"] if finding["check"] == name)
        for name in ("database_answers", "error_rate")
    )
    assert "not configured" in database["says"].lower()
    assert "did you mean 'dsn'?" in database["says"]
    assert "127.0.0.1:9" in errors["says"]


CODE = '__import__("os").system("touch {mark}")'
CODE_NAMES = [
    "y=" + CODE + ";service",
    CODE,
    "service=x;" + CODE,
    "service: str = " + CODE + " #",
    "x:=" + CODE,
    "[" + CODE + " for x in (1,)][0]",
]


@pytest.mark.row("H01")
@pytest.mark.parametrize("name", CODE_NAMES)
def test_a_parameters_name_that_is_code_is_refused_and_never_run(bench: Bench, name: str) -> None:
    name = name.replace("{mark}", str(bench.code_mark))
    bench.refused("-p", f"{name}=x")
    batch = ["runbook", "batch", "Small", "--output", str(bench.output), "-p", f"{name}=x"]
    bench.refused(argv=batch, within=10)  # it knows tables, and so loads pandas
    bench.write("Small.yaml", f"{json.dumps(name)}: x\n")
    bench.refused(expected_words=["parameters/Small.yaml: there is no parameter"])


@pytest.mark.row("H01")
@pytest.mark.parametrize("name", CODE_NAMES)
def test_a_recording_of_somebody_else_is_data_and_no_code(bench: Bench, name: str) -> None:
    recording = json.loads((ROOT / "recordings" / "HighErrorRate-bad-deploy.json").read_bytes())
    bench.environment["RUNBOOK_HOME"] = str(ROOT)
    name = name.replace("{mark}", str(bench.code_mark))
    recording["parameters"][name] = "x"
    file = bench.folder / "theirs.json"
    file.write_text(json.dumps(recording))
    argv = ["runbook", "replay", str(file), "--output", str(bench.output)]
    told = ["theirs.json: there is no parameter"]
    bench.refused(argv=argv, expected_words=told, within=10, after="Running theirs.json …\n")


@pytest.mark.row("H01")
def test_such_code_would_run_if_papermill_alone_were_given_it(bench: Bench) -> None:
    """What these tests look for does happen where nobody refuses: they could fail."""
    bench.declare('note: str = "x"\n')
    name = CODE_NAMES[0].replace("{mark}", str(bench.code_mark))
    home = bench.folder / "home" / "notebooks"
    argv = ["papermill", str(home / "Small.ipynb"), str(bench.folder / "out.ipynb"), "-p", name, "x"]
    command(argv, bench.environment, cwd=bench.folder)
    assert bench.kernel_mark.exists()
    assert bench.code_mark.exists()


@pytest.mark.row("H02")
@pytest.mark.parametrize("breaks", ["\n", "\r", "\r\n", "\x0b", "\x0c", "\x1c", "\x85", "\u2028", "\u2029"])
def test_a_name_with_a_line_break_is_refused(bench: Bench, breaks: str) -> None:
    name = f"service{breaks}open({str(bench.code_mark)!r}, 'w')#"
    bench.refused("-p", f"{name}=x", expected_words=["-p: there is no parameter"])
    bench.write("Small.yaml", f"{json.dumps(name)}: x\n")
    bench.refused(expected_words=["parameters/Small.yaml"])


NAMES = ["print", "open", "__name__", "__builtins__", "None", "class", "ser-vice", "service.x", "9", "_", ""]
NAMES += ["x" * 10_000, "\uff53ervice", "\u017fervice", "serv\u0456ce", "service\u200b", "\udcff"]


@pytest.mark.row("H03")
@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:20])
def test_a_name_that_shadows_or_looks_like_another_is_refused(bench: Bench, name: str) -> None:
    bench.refused("-p", f"{name}=x", expected_words=["there is no parameter"])


@pytest.mark.row("H03")
@pytest.mark.parametrize(
    "name", ["print", "__name__", "_x", "X", "\u017fervice", "match", "x" * 10_000, "service"]
)
def test_a_notebook_cannot_declare_such_a_name_either(bench: Bench, name: str) -> None:
    bench.declare(f'{name}: str = "x"\n')
    bench.refused(expected_words=["the parameters cell: "])


VALUES = {
    "quotes": "it's \"double\" and \\'both\\'\"",
    "backslashes": "C:\\new\\table \\x41 \\u0041 \\N{BULLET} \\\\ ends with \\",
    "breaks": "one\ntwo\n\n\tthree\n",
    "comment": "# no comment # at all",
    "triples": '"""one""" \'\'\'two\'\'\' """',
    "braces": "{x.__class__} {x:>999999999} {} {0} %s %(a)s ${HOME} $(id) `id`",
    "letters": "数据库 — é ü ß 🙂\u3000.",
    "yaml": "{a: b}: [c] & *d !e | > % @ - ?",
    "code": '"; import os; os._exit(9); "',
    "number": "007",
    "no": "NO",
    "empty": "",
    "spaces": "  both ends  ",
    "long": "\\\"'\n#" * 1_900,
}
ROUND = "import json\nprint(json.dumps(dict(" + ", ".join(f"{name}={name}" for name in VALUES) + ")))"


@pytest.mark.row("H04")
@pytest.mark.parametrize("how", ["-p", "YAML", "JSON"])
def test_a_value_of_quotes_and_breaks_comes_through_as_it_was_given(bench: Bench, how: str) -> None:
    bench.declare("".join(f'{name}: str = "default"\n' for name in VALUES), ROUND)
    given = (
        [word for name, value in VALUES.items() for word in ("-p", f"{name}={value}")] if how == "-p" else []
    )
    if how == "YAML":
        bench.write("Small.yaml", yaml.safe_dump(VALUES, allow_unicode=True))
    if how == "JSON":
        bench.write("Small.yaml", json.dumps(VALUES, ensure_ascii=False))
    ended = bench.run(*given)
    assert ended.verdict["failure"] == "", ended.err
    bundle = Path(ended.verdict["bundle"])
    executed = notebook(bundle / "notebook.ipynb")
    [printed] = [one["text"] for one in outputs(executed) if "text" in one]
    assert json.loads(printed) == VALUES
    assert json.loads((bundle / "manifest.json").read_bytes())["parameters"] == VALUES
    assert executed["metadata"]["papermill"]["parameters"] == VALUES


TEMPLATES = [
    "{service.__class__}",
    "{service:>999999999}",
    "{0}",
    "{service!r}",
    "{service.__init__.__globals__}",
]


@pytest.mark.row("H08")
@pytest.mark.parametrize("template", TEMPLATES[:2])
def test_a_template_in_a_value_that_becomes_part_of_a_path_is_plain_text(bench: Bench, template: str) -> None:
    settings: dict[str, Any] = yaml.safe_load(DOWN)
    settings["services"] = {template: settings["services"]["backend"]}
    bench.write("environments/down.yaml", json.dumps(settings))
    bench.declare('note: str = "x"\n', small.CHECK, "print(service + note)")
    ended = bench.run("-s", template, "-p", f"note={template}")
    assert ended.code == 2, ended.err
    bundle = Path(ended.verdict["bundle"])
    assert bundle.parent == bench.output
    assert not set("{}<>'") & set(bundle.name)
    assert len(bundle.name) < 120
    assert ended.verdict["service"] == template
    [printed] = [one["text"] for one in outputs(notebook(bundle / "notebook.ipynb")) if "text" in one]
    assert printed == f"{template}{template}\n"
    assert {path.name for path in bench.output.iterdir()} == {bundle.name, "ledger.jsonl"}
    assert all(path.stat().st_size < 5_000_000 for path in bundle.iterdir())


@pytest.mark.row("H08")
@pytest.mark.parametrize("template", TEMPLATES)
def test_a_template_in_the_path_of_evidence_or_home_is_a_name_like_any_other(
    bench: Bench, template: str
) -> None:
    """Papermill fills paths in with the parameters, and would take a gigabyte for the second of them."""
    bench.refused(argv=["runbook", "run", template], expected_words=["there is no runbook for"])
    home = Path(bench.environment["RUNBOOK_HOME"])
    bench.environment["RUNBOOK_HOME"] = str(home.rename(home.with_name(template)))
    output = bench.folder / "out" / template
    argv = ["runbook", "run", "Small", "-p", "service=backend", "--output", str(output), "--json"]
    ended = command(argv, bench.environment)
    assert ended.code == 2, ended.err
    assert Path(ended.verdict["bundle"]).parent == output
    assert [path.name for path in (bench.folder / "out").iterdir()] == [template]
    assert not bench.output.exists()


@pytest.mark.row("H08")
@pytest.mark.parametrize("engine", [[], ["--engine", "runbook"]], ids=["its own", "ours"])
@pytest.mark.parametrize("template", ["{note.__class__}", "{note:>999999999}"])
def test_papermill_fills_in_a_value_and_nothing_within_it(
    bench: Bench, engine: list[str], template: str
) -> None:
    bench.declare('note: str = "x"\n', "print(note)")
    path = str(bench.folder / "home" / "notebooks" / "Small.ipynb")
    argv = ["papermill", path, str(bench.folder / "out-{note}.ipynb"), "-p", "note", template, *engine]
    ended = command(argv, bench.environment, cwd=bench.folder)
    assert ended.code == 0, ended.err
    executed = notebook(bench.folder / f"out-{template}.ipynb")
    assert [one["text"] for one in outputs(executed) if "text" in one] == [f"{template}\n"]


@pytest.mark.row("H08")
def test_nothing_of_ours_fills_in_a_text_that_is_no_constant() -> None:
    """`str.format` on a text from outside reads attributes; f-strings are never text from outside."""
    package = Path(runbooklib.__file__).parent
    found = [
        f"{path.relative_to(package)}:{node.lineno}"
        for path in sorted(package.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("format", "format_map", "vformat")
        and not isinstance(node.func.value, ast.Constant)
        # `text.filled` refuses a field that is not a plain name.
        and path != package / "text.py"
        # psycopg's own: it looks names up among those that it was given, and knows no attributes
        and not ast.unparse(node.func.value).startswith("SQL(")
    ]
    assert found == []
