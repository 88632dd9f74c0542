import inspect
import re

import pytest

from runbooklib import errors
from runbooklib.errors import Reason, RefusedError, RunbookError, SourceError

TREE = {
    name: cls
    for name, cls in inspect.getmembers(errors, inspect.isclass)
    if issubclass(cls, RunbookError) and cls.__module__ == errors.__name__
}


def test_the_tree_in_the_docstring_is_the_tree_of_the_classes() -> None:
    parents: list[str] = []
    drawn: dict[str, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"^((?:[│ ] {3}|[├└]── )*)(\w+Error)\b", line)
        if found:
            depth = len(found[1]) // 4
            parents[depth:] = [found[2]]
            drawn[found[2]] = parents[depth - 1] if depth else "Exception"
    assert drawn == {name: cls.__bases__[0].__name__ for name, cls in TREE.items()}


def test_each_source_error_has_its_own_reason() -> None:
    reasons = [
        cls.reason for cls in TREE.values() if issubclass(cls, SourceError) and SourceError in cls.__bases__
    ]
    assert len(reasons) == len(set(reasons))
    assert all(isinstance(reason, Reason) for reason in reasons)


def test_an_error_is_one_line_that_says_where_what_and_what_to_do() -> None:
    error = RefusedError("no such table", system="postgres", target="db:5432", hint="run the migrations")
    assert str(error) == "postgres at db:5432: no such table (run the migrations)"


@pytest.mark.parametrize(
    ("about", "told"),
    [
        ({}, "it broke"),
        ({"system": "git"}, "git: it broke"),
        ({"hint": "mend it"}, "it broke (mend it)"),
    ],
)
def test_an_error_says_only_what_is_known(about: dict[str, str], told: str) -> None:
    assert str(RunbookError("it broke", **about)) == told
