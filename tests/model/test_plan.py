"""A plan is data: its digest depends on what it says, and on nothing else."""

import json
from dataclasses import replace

import pytest

from runbooklib.model.plan import Plan

PLAN = Plan(
    "raise_memory_limit",
    {"factor": 2.0, "container": "x"},
    "HighMemoryUsage",
    "backend",
    "lab",
    "x",
    {"id": "1", "limits": (256.0, 1.5)},
    "2026-01-15T03:12:00+00:00",
)


def test_a_plan_that_jupyterlab_saved_is_the_same_plan() -> None:
    saved = json.dumps(PLAN.as_dict()).replace("2.0", "2").replace("256.0", "256")
    assert Plan.from_dict(json.loads(saved)).digest == PLAN.digest
    assert json.loads(saved) == PLAN.as_dict()
    # What is compared byte by byte has one spelling from the beginning.
    assert "2.0" not in json.dumps(PLAN.as_dict())


@pytest.mark.parametrize(
    "other",
    [
        {"parameters": {"factor": 2.5, "container": "x"}},
        {"target": "y"},
        {"identity": {"id": "2"}},
        {"seen_at": "2026-01-15T03:12:01+00:00"},
    ],
    ids=str,
)
def test_whatever_differs_is_another_plan(other: dict[str, object]) -> None:
    assert replace(PLAN, **other).digest != PLAN.digest  # type: ignore[arg-type]


@pytest.mark.parametrize("missing", ["action", "parameters", "seen_at"])
def test_what_lacks_something_is_no_plan(missing: str) -> None:
    told = PLAN.as_dict()
    del told[missing]
    with pytest.raises(ValueError, match="not a plan: "):
        Plan.from_dict(told)


@pytest.mark.parametrize(("name", "value"), [("action", 7), ("identity", "x"), ("parameters", [])])
def test_what_is_of_another_kind_is_no_plan(name: str, value: object) -> None:
    with pytest.raises(ValueError, match="not a plan: "):
        Plan.from_dict({**PLAN.as_dict(), name: value})
