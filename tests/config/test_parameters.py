import pytest

from runbooklib.config.parameters import (
    Declared,
    assigned_names,
    check_types,
    from_text,
    parse_declarations,
    refuse_missing,
    refuse_unknown,
)
from runbooklib.errors import ParameterError

CELL = """service: str = "backend"  # who
limit: float = 0.05  # share of requests
count: int = 3
is_dry: bool = True  # no # second
"""


@pytest.fixture
def known() -> dict[str, Declared]:
    return parse_declarations(CELL)


def test_a_cell_declares_names_types_defaults_and_help(known: dict[str, Declared]) -> None:
    assert list(known) == ["service", "limit", "count", "is_dry"]
    assert known["service"] == Declared("service", str, "backend", "who")
    assert known["limit"] == Declared("limit", float, 0.05, "share of requests")
    assert known["count"].help == ""
    assert known["is_dry"].type is bool
    assert parse_declarations("") == {}
    assert parse_declarations("# only words\n") == {}


@pytest.mark.parametrize(
    ("cell", "told"),
    [
        ("x = 1", "line 1 of the parameters cell is not a declaration of a parameter"),
        ('a: str = "x"\nprint(a)', "line 2 of the parameters cell is not a declaration of a parameter"),
        ("import os", "is not a declaration of a parameter"),
        ("a.b: str = 'x'", "is not a declaration of a parameter"),
        ("a: list = []", "a has an unsupported type"),
        ("a: list[str]", "a has an unsupported type"),
        ("a: 'str' = 'x'", "a has an unsupported type"),
    ],
)
def test_a_cell_with_other_code_is_refused(cell: str, told: str) -> None:
    with pytest.raises(ParameterError, match=told):
        parse_declarations(cell)


def test_a_parameter_without_a_default_is_required() -> None:
    known = parse_declarations("region: str  # where\nlimit: float = 1\n")
    assert known["region"] == Declared("region", str, None, "where")
    with pytest.raises(ParameterError, match=r"region \(str: where\) is required.*parameters/High\.yaml"):
        refuse_missing(known, {"limit": 2}, "High")
    refuse_missing(known, {"region": ""}, "High")
    with pytest.raises(ParameterError, match="region must be str, but 1 is int"):
        check_types(known, {"region": 1}, "-p")


@pytest.mark.parametrize(
    "name",
    ["print", "hash", "__name__", "_", "_a", "A", "aB", "é", "match", "a" * 65, "x" * 9_999],
)
def test_a_name_that_means_something_else_cannot_be_declared(name: str) -> None:
    with pytest.raises(ParameterError, match="cannot be a parameter's name") as refused:
        parse_declarations(f'{name}: str = "x"')
    assert len(str(refused.value)) < 300
    assert list(parse_declarations(f'{"a" * 64}: str = "x"')) == ["a" * 64]


def test_a_name_cannot_be_declared_twice() -> None:
    with pytest.raises(ParameterError, match="a is declared twice"):
        parse_declarations('a: str = "x"\na: int = 1')


@pytest.mark.parametrize("cell", ["a: str = \0", "a: int = " + "-" * 100_000 + "1", "(" * 10_000])
def test_a_cell_that_no_parser_takes_is_refused(cell: str) -> None:
    with pytest.raises(ParameterError):
        parse_declarations(cell)


@pytest.mark.parametrize("cell", ['a: str = __import__("os").getcwd()', "a: int = 1 + x", 'a: str = f"{x}"'])
def test_a_default_is_read_and_never_run(cell: str) -> None:
    with pytest.raises(ParameterError, match="the default of a is not a literal value"):
        parse_declarations(cell)


@pytest.mark.parametrize(
    "cell",
    ["a: str = 1", "a: int = True", 'a: float = "x"', "a: str = None", "a: bool = 0", "a: float = 1e999"],
)
def test_a_default_of_another_type_is_refused(cell: str) -> None:
    with pytest.raises(ParameterError, match="a must be"):
        parse_declarations(cell)


def test_a_float_may_be_declared_without_a_point() -> None:
    assert parse_declarations("a: float = 1")["a"].default == 1.0
    assert parse_declarations("a: float = -1")["a"].default == -1.0


def test_a_cell_that_is_no_python_is_refused_with_its_line() -> None:
    with pytest.raises(ParameterError, match="line 2 of the parameters cell"):
        parse_declarations('a: str = "x"\nb: str = "')


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("sevice", "x", "did you mean 'service'"),
        ("limit", "0.1", "limit must be float, but '0.1' is str"),
        ("limit", True, "limit must be float, but True is bool"),
        ("count", 1.0, "count must be int"),
        ("count", False, "count must be int"),
        ("is_dry", 1, "is_dry must be bool"),
        ("service", None, "service must be str"),
        ("service", ["x"], "service must be str"),
        ("service", "x" * 10_001, "longer than 10,000"),
        ("service", "a\x1b[31mb", "cannot be printed"),
        ("service", "a\u202eb", "cannot be printed"),
        ("service", "a\x00b", "contains U+0000, which cannot be printed"),
        ("service", "a\ud800b", "contains U+D800, which cannot be printed"),
        ("service", "a\u200bb", "contains U+200B ZERO WIDTH SPACE, which cannot be printed"),
        ("service", "a\u3164b", "contains U+3164 HANGUL FILLER"),
        ("x" * 5_000, "x", "… (5,000 characters)"),
    ],
)
def test_values_of_another_name_type_or_look_are_refused_where_they_were_given(
    known: dict[str, Declared], name: str, value: object, told: str
) -> None:
    with pytest.raises(ParameterError) as refused:
        check_types(known, {name: value}, "parameters/X.yaml")
    assert told in str(refused.value)
    assert str(refused.value).startswith("parameters/X.yaml: ")


def test_values_of_the_right_type_are_taken_and_an_int_becomes_a_float(known: dict[str, Declared]) -> None:
    found = check_types(known, {"limit": 1, "service": "a\tb\n密", "count": 0, "is_dry": False}, "-p")
    assert found == {"limit": 1.0, "service": "a\tb\n密", "count": 0, "is_dry": False}
    assert type(found["limit"]) is float


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("service", "007", "007"),
        ("service", "", ""),
        ("service", "null", "null"),
        ("limit", "0.1", 0.1),
        ("limit", "1e-3", 0.001),
        ("limit", "2", 2.0),
        ("count", "-4", -4),
        ("is_dry", "false", False),
        ("is_dry", "TRUE", True),
        ("limit", ".5", 0.5),
        ("limit", "-0.25e2", -25.0),
        ("count", "0", 0),
    ],
)
def test_text_is_read_as_the_declared_type(
    known: dict[str, Declared], name: str, text: str, value: object
) -> None:
    [read] = from_text(known, {name: text}, "-p").values()
    assert (read, type(read)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("limit", "high"),
        ("limit", "nan"),
        ("limit", "inf"),
        ("limit", ""),
        ("count", "1.5"),
        ("count", "ten"),
        ("is_dry", "yes"),
        ("is_dry", "1"),
        ("is_dry", "tRuE"),
        ("count", "007"),
        ("count", "1_000"),
        ("count", " 5"),
        ("count", "+5"),
        ("count", "\uff15"),
        ("count", "-"),
        ("count", "9" * 5_000),
        ("limit", "1_0.5"),
        ("limit", "1e999"),
        ("limit", "."),
        ("limit", "-"),
        ("limit", "e5"),
        ("service", "a\x07"),
    ],
)
def test_text_that_is_not_of_the_type_is_refused(known: dict[str, Declared], name: str, text: str) -> None:
    with pytest.raises(ParameterError, match=name):
        from_text(known, {name: text}, "-p")


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_no_limit_can_be_is_refused(known: dict[str, Declared], number: float) -> None:
    with pytest.raises(ParameterError, match="limit"):
        check_types(known, {"limit": number}, "parameters/X.yaml")


@pytest.mark.parametrize("name", ["y=1\nimport os", "__class__", "", "service ", "SERVICE"])
def test_no_name_that_was_not_declared_gets_through(known: dict[str, Declared], name: str) -> None:
    """Papermill writes names into the notebook as code."""
    for refuse in (
        lambda: refuse_unknown(known, [name], "-p"),
        lambda: check_types(known, {name: "x"}, "-p"),
        lambda: from_text(known, {name: "x"}, "-p"),
    ):
        with pytest.raises(ParameterError, match="there is no parameter"):
            refuse()


def test_the_names_that_an_injected_cell_assigns_are_found() -> None:
    assert assigned_names('# Parameters\na = 1\nb = c = "x"\n') == ["a", "b", "c"]
    assert assigned_names("# Parameters\n") == []
