"""An engineer's own SQL through an incident, on a real PostgreSQL."""

from collections.abc import Sequence
from datetime import UTC, datetime

import pandas as pd
import pytest

from runbooklib.config.environment import Environment, Target
from runbooklib.errors import ParameterError, RefusedError
from runbooklib.model.event import Event
from runbooklib.model.window import Window
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.listener import IncidentListener
from runbooklib.render.sentences import event_text
from runbooklib.sources.context import Context, Sources
from runbooklib.sources.tape import Tape
from tests.support.postgresql import PASSWORD, Server


class Listener(IncidentListener):
    """Keeps the events."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def events_added(self, title: str, events: Sequence[Event]) -> None:
        self.events = list(events)


@pytest.fixture(autouse=True)
def password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READER_PASSWORD", PASSWORD)


def opened(server: Server, tape: Tape) -> tuple[Incident, Listener]:
    site = Environment.model_validate(
        {
            "title": "Site",
            "systems": {"postgres": {"dsn": server.dsn(), "password_env": "READER_PASSWORD"}},
            "services": {"backend": {"title": "Backend", "labels": {}}},
        }
    )
    target, listener = Target(environment_name="site", service_name="backend", environment=site), Listener()
    window = Window.open(opened_at=datetime(2026, 1, 15, tzinfo=UTC))
    return Incident(Context("Alert", target, window, Sources(target, tape)), tape, listener), listener


def test_it_is_answered_as_a_frame_recorded_and_the_same_in_a_replay(server: Server) -> None:
    tape = Tape()
    incident, listener = opened(server, tape)
    query = "select n, n * 2 as twice from generate_series(1, %s) n"
    frame = incident.sql(query, [3])
    assert frame.to_dict("list") == {"n": [1, 2, 3], "twice": [2, 4, 6]}
    incident.timeline()
    [own] = [event for event in listener.events if event.source == "postgres"]
    assert event_text(own) == f"asked {query}"
    assert own.at is not None
    again, _ = opened(server, Tape(recording=tape.take_recorded()))
    pd.testing.assert_frame_equal(again.sql(query, [3]), frame)


def test_it_can_change_nothing(server: Server) -> None:
    incident, _ = opened(server, Tape())
    with pytest.raises(ParameterError, match="only queries that read are allowed"):
        incident.sql("delete from pg_class")
    with pytest.raises(RefusedError):
        incident.sql("with gone as (delete from pg_class returning 1) select * from gone")
