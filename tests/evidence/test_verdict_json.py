"""The verdict as JSON: each field is documented, each documented one is there, in one spelling."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from runbooklib.config.environment import Environment, Service, Systems, Target
from runbooklib.errors import Reason
from runbooklib.evidence.verdict_json import canonical, verdict_as_dict
from runbooklib.model.findings import Finding, Status, unknown
from runbooklib.model.plan import Plan, Proposal
from runbooklib.model.verdict import VERSION, Cause, Rank, Verdict, judge
from runbooklib.model.window import Window
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape

DOCUMENT = Path(__file__).parents[2] / "docs" / "verdict.md"
NOON = datetime(2026, 1, 15, 12, tzinfo=UTC)
TYPES: dict[str, Any] = {"integer": int, "number": float, "text": str, "object": dict, "true or false": bool}


def documented() -> dict[str, dict[str, str]]:
    """Field -> type of each table, by its heading."""
    tables: dict[str, dict[str, str]] = {}
    for part in DOCUMENT.read_text().split("\n## ")[1:]:
        rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \|", part, re.MULTILINE)
        if rows:
            tables[part.splitlines()[0]] = dict(rows)
    return tables


def finding(status: Status, check: str, since: datetime | None = None, source: str = "prometheus") -> Finding:
    if status is Status.UNKNOWN:
        return unknown(Reason.NO_DATA, "nothing", check=check, question=f"{check}?", source=source)
    return Finding(
        status=status,
        template="{a}",
        facts={"a": check},
        check=check,
        question="?",
        source=source,
        since=since,
    )


def make_context() -> Context:
    service = Service(title="Backend", labels={"job": "b"})
    site = Environment(title="Site", systems=Systems(), services={"backend": service})
    target = Target(environment_name="site", service_name="backend", environment=site)
    window = Window(NOON - timedelta(hours=1), NOON, 15.0, NOON)
    return Context("HighErrorRate", target, window, Sources(target, Tape()))


def judged() -> Verdict:
    """A verdict in which no list is empty."""
    signs = (
        finding(Status.CRITICAL, "for_it", NOON - timedelta(minutes=40), "docker"),
        finding(Status.WARNING, "came_after", NOON - timedelta(minutes=5)),
        finding(Status.OK, "sound"),
        finding(Status.UNKNOWN, "missing"),
    )
    plan = Plan("restart_container", {}, "A", "backend", "lab", "x", {"id": "1"})
    remedy = Proposal("Restart it", "docker restart x", "It starts again.", "Its memory.", plan=plan)
    symptoms = [
        finding(Status.CRITICAL, "error_rate", NOON - timedelta(minutes=30)),
        finding(Status.OK, "traffic"),
    ]
    return judge(symptoms, [Cause("crash", "It crashed", signs, (remedy,)), Cause("other", "Another")])


@pytest.fixture
def told() -> dict[str, Any]:
    return verdict_as_dict(judged(), make_context())


def parts(told: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each object of the verdict with the heading that documents it."""
    yield "The verdict", told
    yield "window", told["window"]
    for cause in told["causes"]:
        yield "A cause", cause
        for kind in ("for", "against", "missing"):
            for one in cause[kind]:
                yield "A finding", one
    for one in (*told["symptoms"], *told["not_checked"]):
        yield "A finding", one
    for one in told["next"]:
        yield "A proposal", one


def test_each_field_is_documented_with_its_type_and_each_documented_one_is_there(
    told: dict[str, Any],
) -> None:
    tables = documented()
    seen = set()
    for heading, part in parts(told):
        seen.add(heading)
        assert part.keys() == tables[heading].keys(), heading
        for name, kind in tables[heading].items():
            value = part[name]
            if kind.startswith("list of"):
                assert isinstance(value, list), name
            elif kind.startswith("time"):
                assert value is None or datetime.fromisoformat(value).utcoffset() == timedelta(0), name
                assert value is not None or kind == "time or null", name
            else:
                assert type(value) is TYPES[kind], name
    assert seen == set(tables)


def test_what_can_be_approved_holds_its_plan_and_a_text_holds_none(told: dict[str, Any]) -> None:
    [action] = told["actions"]
    assert (action["cause"], action["undo"], action["action"]) == ("It crashed", "", "restart_container")
    assert Plan.from_dict(action["plan"]).fingerprint == action["fingerprint"]
    text = Proposal("Wait", "", "Nothing.")
    without = judge([finding(Status.CRITICAL, "x")], [Cause("c", "C", (), (text,))])
    assert "actions" not in verdict_as_dict(without, make_context())


def test_the_documented_version_is_the_one_that_is_written(told: dict[str, Any]) -> None:
    assert told["version"] == VERSION
    assert f"`version` is **{VERSION}**" in DOCUMENT.read_text()


def test_every_status_and_rank_is_documented() -> None:
    text = DOCUMENT.read_text()
    assert not [name for name in (*Status.__members__, *Rank) if f"`{name}`" not in text]


def test_what_speaks_for_against_and_after_is_told_apart(told: dict[str, Any]) -> None:
    crash = told["causes"][0]
    names = {kind: [sign["check"] for sign in crash[kind]] for kind in ("for", "against", "missing")}
    assert names == {"for": ["for_it"], "against": ["sound", "came_after"], "missing": ["missing"]}
    assert (crash["points_for"], crash["points_against"]) == (2, 2)
    assert [one["check"] for one in told["not_checked"]] == ["missing"]
    assert told["next"][0]["command"] == "docker restart x"


def test_without_anything_asked_it_is_unknown_and_still_has_every_field() -> None:
    told = verdict_as_dict(judge([], []), make_context())
    assert told.keys() == documented()["The verdict"].keys() - {"actions"}
    assert (told["status"], told["onset"], told["causes"], told["next"]) == ("UNKNOWN", None, [], [])


def test_it_is_canonical_whatever_the_order_and_reads_back_as_it_was(told: dict[str, Any]) -> None:
    text = canonical(told)
    assert text == canonical(json.loads(text)) == canonical(dict(reversed(told.items())))
    assert text.endswith("}\n")
    assert not text.endswith("\n\n")
    assert json.loads(text) == told
    assert canonical({"b": "密码 \u2028", "a": 1}) == '{\n  "a": 1,\n  "b": "密码 \u2028"\n}\n'


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_what_is_no_json_number_is_refused(number: float) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": [number]})


def test_times_of_another_zone_keep_their_moment() -> None:
    east = (NOON - timedelta(minutes=30)).astimezone(timezone(timedelta(hours=8)))
    told = verdict_as_dict(judge([finding(Status.CRITICAL, "error_rate", east)], []), make_context())
    assert datetime.fromisoformat(told["onset"]) == NOON - timedelta(minutes=30)
