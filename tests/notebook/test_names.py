"""The names that notebooks rely on: a change here is a change for every notebook."""

import inspect
import re
from pathlib import Path

import pytest

from runbooklib import notebook
from runbooklib.checks.registry import aliases, check
from runbooklib.model import findings
from runbooklib.model.findings import Finding, Status
from runbooklib.notebook import incident, session
from runbooklib.notebook.names import document
from runbooklib.sources.context import Context

METHODS = (
    "ask_again basics cause check contacts context controls escalation findings history links logs marks "
    "note objectives prometheus query recovery sources sql timeline upkeep verdict"
)


PAGE = Path(__file__).parents[2] / "docs" / "checks.md"


def test_the_page_of_names_is_what_the_code_says() -> None:
    # A name that was removed or renamed without `formerly` breaks notebooks in sealed evidence.
    assert PAGE.read_text("utf-8") == document(), "the names have changed: see the difference, then make docs"


def test_a_notebook_gets_every_registered_name_and_no_other() -> None:
    on_page = set(re.findall(r"^(?:### |- )`(\w+)", PAGE.read_text("utf-8"), re.MULTILINE))
    assert {*notebook.__all__} - aliases().keys() == {*on_page, "incident", "open_incident"}


def test_an_earlier_name_of_a_check_stays_usable() -> None:
    assert aliases()["pool_as_told"] == "pool_matches_health_page"
    assert notebook.pool_as_told is notebook.pool_matches_health_page


def test_two_checks_cannot_have_one_name() -> None:
    with pytest.raises(ValueError, match=r"the name error_rate is taken by runbooklib\.checks\.traffic"):
        check(error_rate)


def error_rate(context: Context) -> Finding:
    """Is this another check of that name?"""
    return Finding(status=Status.OK, template=f"{context.alert}")


def test_an_incident_has_exactly_these_methods() -> None:
    public = [name for name in dir(incident.Incident) if not name.startswith("_")]
    assert sorted(public) == METHODS.split()


def test_open_incident_takes_these_parameters() -> None:
    parameters = inspect.signature(session.open_incident).parameters
    assert list(parameters) == ["alert", "environment", "service", "at", "lookback", "replay", "resume"]
    assert [p.kind for p in parameters.values()][1:] == [inspect.Parameter.KEYWORD_ONLY] * 6


def test_every_check_takes_a_context_and_named_limits_and_asks_a_question() -> None:
    for name in notebook.__all__:
        function = getattr(notebook, name)
        if (
            not inspect.isfunction(function)
            or inspect.signature(function).return_annotation != findings.Finding
        ):
            continue
        first, *limits = inspect.signature(function).parameters.values()
        assert first.name == "context", name
        assert all(limit.kind is inspect.Parameter.KEYWORD_ONLY for limit in limits), name
        question = (function.__doc__ or "").splitlines()[0]
        assert question.endswith("?"), f"{name} does not begin with its question: {question}"
        named = set(re.findall(r"\{([a-z_]+)\}", question))
        assert named <= {limit.name for limit in limits}, name
