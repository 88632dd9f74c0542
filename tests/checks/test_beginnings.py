"""What began out of sight says nothing about order: the start of what is still kept is no beginning."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest

from runbooklib.checks.container_state import container_state
from runbooklib.checks.containers import container_deaths, out_of_memory
from runbooklib.checks.time_series import began, unseen_seconds
from runbooklib.config.environment import DockerSystem, Environment, Service, Systems, Target
from runbooklib.model.findings import Finding, Status
from runbooklib.model.verdict import Cause, Rank, rank_cause
from runbooklib.model.window import Window
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Entry, Tape

ONSET = datetime(2026, 1, 15, 12, tzinfo=UTC)
END = ONSET + timedelta(minutes=10)


def after(seconds: float) -> datetime:
    return ONSET + timedelta(seconds=seconds)


def make_context(
    *,
    events: tuple[dict[str, Any], ...] = (),
    complete_since: datetime | None = None,
    last_run: dict[str, Any] | None = None,
) -> Context:
    """A service whose container has these events, of which the engine has kept those since a moment."""
    return recorded(
        {"question": "events"},
        {
            "events": list(events),
            "complete_since": complete_since.isoformat() if complete_since else None,
            "oldest_at": None,
            "last_run": last_run,
        },
    )


def recorded(question: dict[str, Any], answer: dict[str, Any], **container: Any) -> Context:
    service = Service(title="Backend", labels={"service": "backend"}, containers=("backend",))
    environment = Environment(
        title="Test", systems=Systems(docker=DockerSystem(url="unix:///x")), services={"backend": service}
    )
    target = Target(environment_name="test", service_name="backend", environment=environment)
    window = Window.open(opened_at=datetime.now(UTC), at=END.isoformat(), lookback="1h")
    unasked = Context("HighErrorRate", target, window, Sources(target, Tape()), ONSET)
    if question["question"] == "events":
        span = {"since": unasked.suspect_since.isoformat(), "until": window.end.isoformat()}
        question = {**question, **span}
    entries = [
        Entry("docker", {**question, "name": "backend"}, END, 0.1, answer),
        Entry("docker", {"question": "container", "name": "backend"}, END, 0.1, described(**container)),
    ]
    sources = Sources(target, Tape(recording=entries))
    return Context("HighErrorRate", target, window, sources, ONSET)


def described(**state: Any) -> dict[str, Any]:
    texts = dict.fromkeys(("image", "image_id", "revision", "version", "error", "health"), "")
    return {
        **texts,
        "name": "backend",
        "id": "1" * 64,
        "status": "running",
        "is_running": True,
        "exit_code": 0,
        "oom_killed": False,
        "restart_count": 0,
        "created_at": after(-7200).isoformat(),
        "started_at": after(-7200).isoformat(),
        "finished_at": None,
        "memory_limit_bytes": 2**28,
        "memory_swap_bytes": None,
        "restart_policy": "always",
        **state,
    }


def event(action: str, seconds: float, **facts: Any) -> dict[str, Any]:
    plain = {"exit_code": None, "signal": None, "image": "x", "container_id": "1" * 64}
    return {"at": after(seconds).isoformat(), "action": action, **plain, **facts}


KILLS = tuple(event("oom", 60.0 + number) for number in range(203))
DEATHS = tuple(event("die", 60.0 + number, exit_code=1) for number in range(3))


def rank_of(finding: Finding) -> Rank:
    return rank_cause(Cause("c", "C", (finding,)), ONSET, tolerance_seconds=30).rank


@pytest.mark.parametrize(
    ("check", "events"), [(out_of_memory, KILLS), (container_deaths, DEATHS)], ids=["oom", "die"]
)
def test_where_the_engine_has_dropped_events_the_first_one_left_is_not_the_beginning(
    check: Any, events: tuple[dict[str, Any], ...]
) -> None:
    cut = check(make_context(events=events, complete_since=after(59)))
    assert (cut.status, cut.since, cut.measured) == (Status.CRITICAL, None, float(len(events)))
    assert rank_of(cut) is Rank.LIKELY
    for complete_since in (None, after(-7200)):
        whole = check(make_context(events=events, complete_since=complete_since))
        assert whole.since == after(60)
        assert rank_of(whole) is Rank.UNLIKELY


def last_run(started: float, finished: float, **fields: Any) -> dict[str, Any]:
    times = {"started_at": after(started).isoformat(), "finished_at": after(finished).isoformat()}
    plain = {"is_running": True, "exit_code": 0, "oom_killed": False, "restart_count": 0}
    return {**plain, **times, **fields}


KILLED = {"is_running": False, "oom_killed": True, "exit_code": 137}


@pytest.mark.parametrize(
    ("fields", "deaths", "memory"),
    [
        (None, Status.UNKNOWN, Status.UNKNOWN),
        (last_run(-9000, -9500), Status.OK, Status.UNKNOWN),
        (last_run(-9000, -9500, restart_count=3), Status.OK, Status.UNKNOWN),
        (last_run(-9000, -9500, oom_killed=True), Status.OK, Status.UNKNOWN),
        (last_run(30, 29), Status.UNKNOWN, Status.UNKNOWN),
        (last_run(30, 29, restart_count=1), Status.CRITICAL, Status.UNKNOWN),
        (last_run(30, 40, is_running=False, restart_count=1), Status.CRITICAL, Status.UNKNOWN),
        (last_run(-9000, 40, is_running=False), Status.UNKNOWN, Status.UNKNOWN),
        (last_run(-9000, 40, is_running=False, exit_code=143), Status.UNKNOWN, Status.UNKNOWN),
        (last_run(-9000, 40, **KILLED), Status.CRITICAL, Status.CRITICAL),
        (last_run(-9000, -8000, **KILLED), Status.UNKNOWN, Status.UNKNOWN),
    ],
)
def test_without_events_the_state_of_the_container_answers_what_it_can(
    fields: dict[str, Any] | None, deaths: Status, memory: Status
) -> None:
    cut = make_context(complete_since=after(50), last_run=fields)
    assert container_deaths(cut).status is deaths
    assert out_of_memory(cut).status is memory
    assert container_deaths(make_context(last_run=last_run(30, 29))).status is Status.OK


def test_the_last_of_many_ends_is_not_when_it_began() -> None:
    now = datetime.now(UTC)
    ended = {"is_running": False, "status": "restarting", "finished_at": now.isoformat()}
    for restarts, since in ((7, None), (0, now)):
        where = recorded({"question": "none"}, {}, **ended, restart_count=restarts)
        live = Context(
            where.alert,
            where.target,
            Window.open(opened_at=now, lookback="1h"),
            where.sources,
            ONSET,
        )
        finding = container_state(live)
        assert (finding.status, finding.since) == (Status.WARNING, since)


def test_what_began_in_a_gap_of_its_series_may_have_begun_so_much_earlier() -> None:
    gap = float("nan")
    index = pd.date_range(after(-50), periods=10, freq="10s")
    column = pd.Series([0.0, 0.0, gap, gap, gap, gap, gap, gap, gap, 2.0], index=index)
    since = began(column, above=1.0)
    assert since == after(40)
    assert unseen_seconds(column, since) == 70.0
    late = Finding(status=Status.CRITICAL, template="x", since=since, blur_seconds=70.0)
    assert rank_of(late) is Rank.LIKELY
    seen = column.fillna(0.0)
    assert unseen_seconds(seen, began(seen, above=1.0)) == 0.0
    assert unseen_seconds(column, None) == 0.0
