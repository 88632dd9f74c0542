import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runbooklib.errors import (
    DeadlineError,
    NonsenseError,
    NotRecordedError,
    ParameterError,
    RefusedError,
    UnreachableError,
)
from runbooklib.sources.alertmanager import Alertmanager
from runbooklib.sources.tape import Tape, pack, unpack
from tests.support.alertmanagers import BEGUN, alert, own_alertmanager, post
from tests.support.servers import page, running
from tests.support.stand_in import Behaviour, answer, black_hole, closed_port, standin
from tests.support.timing import BUSY_SECONDS, seconds_taken

STRANGE = 'quote " backslash \\ comma, {brace} = and\nline'


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("alertmanager")
    with own_alertmanager(folder) as url:
        post(
            f"{url}/api/v2/silences",
            {
                "matchers": [
                    {"name": "alertname", "value": "Muted", "isRegex": False, "isEqual": True},
                    {"name": "component", "value": "a|b", "isRegex": True, "isEqual": False},
                ],
                "startsAt": datetime.now(UTC).isoformat(),
                "endsAt": (datetime.now(UTC) + timedelta(hours=2)).isoformat(),
                "createdBy": "li",
                "comment": "being mended",
            },
        )
        alerts = [
            alert("HighErrorRate", severity="critical", component="backend"),
            alert("MediumErrorRate", severity="warning", component="backend"),
            alert("Muted", component="sandbox"),
            alert("Strange", text=STRANGE),
            alert("Strange", text="other"),
        ]
        post(f"{url}/api/v2/alerts", alerts)

        def is_settled() -> bool:
            told = json.loads(page(f"{url}/api/v2/alerts") or "[]")
            states = sorted(one["status"]["state"] for one in told)
            return states == ["active", "active", "active", "suppressed", "suppressed"]

        with running(["sleep", "60"], folder, is_settled):
            yield url


def of(url: str) -> Alertmanager:
    return Alertmanager(url, Tape(), deadline_seconds=5.0)


def test_alerts_of_all_states_are_told(real: str) -> None:
    found = {one.name: one for one in of(real).alerts()}
    assert set(found) == {"HighErrorRate", "MediumErrorRate", "Muted", "Strange"}
    assert found["HighErrorRate"].state == "active"
    assert found["HighErrorRate"].starts_at == BEGUN
    assert found["HighErrorRate"].annotations == {"summary": "HighErrorRate fires"}
    assert found["MediumErrorRate"].state == "suppressed"
    assert found["MediumErrorRate"].inhibited_by == (found["HighErrorRate"].fingerprint,)
    assert found["Muted"].silenced_by == (of(real).silences()[0].id,)


def test_alerts_may_be_asked_for_by_name_and_labels(real: str) -> None:
    assert [one.name for one in of(real).alerts("HighErrorRate")] == ["HighErrorRate"]
    assert [one.name for one in of(real).alerts(labels={"component": "sandbox"})] == ["Muted"]
    assert of(real).alerts("HighErrorRate", {"component": "sandbox"}) == ()
    assert of(real).alerts("NobodyKnowsThis") == ()


def test_a_filter_is_exactly_the_value_that_was_given(real: str) -> None:
    assert [one.labels["text"] for one in of(real).alerts("Strange", {"text": STRANGE})] == [STRANGE]
    assert of(real).alerts("Strange", {"text": ".*"}) == ()
    assert of(real).alerts('Strange", text=~".*') == ()


def test_a_label_name_that_is_none_is_refused() -> None:
    with pytest.raises(ParameterError, match="not a label name"):
        of(f"http://127.0.0.1:{closed_port()}").alerts(labels={'a="b",c': "d"})


def test_silences_say_who_until_when_and_what(real: str) -> None:
    (silence,) = of(real).silences()
    assert silence.state == "active"
    assert silence.matchers == ('alertname="Muted"', 'component!~"a|b"')
    assert (silence.created_by, silence.comment) == ("li", "being mended")
    assert silence.ends_at - silence.starts_at > timedelta(hours=1)
    assert silence.ends_at.tzinfo == UTC


def test_a_replay_gives_the_same_without_a_server(real: str) -> None:
    live = Tape()
    before = everything(Alertmanager(real, live))
    entries = unpack(json.loads(json.dumps(pack(live.take_recorded()))))
    replay = Alertmanager(f"http://127.0.0.1:{closed_port()}", Tape(recording=entries))
    assert everything(replay) == before
    with pytest.raises(NotRecordedError):
        replay.alerts("Other")


def everything(alertmanager: Alertmanager) -> list[Any]:
    return [alertmanager.alerts(), alertmanager.alerts("Strange", {"text": STRANGE}), alertmanager.silences()]


def test_a_dead_server_is_unreachable() -> None:
    with pytest.raises(
        UnreachableError, match=r"alertmanager at http://127\.0\.0\.1:\d+: refuses connections"
    ):
        of(f"http://127.0.0.1:{closed_port()}").alerts()


def test_a_silent_server_is_given_up_at_the_deadline() -> None:
    def question() -> None:
        with pytest.raises(DeadlineError):
            Alertmanager(server.url, Tape(), deadline_seconds=0.5).silences()

    with standin(black_hole) as server:
        assert seconds_taken(question) < 0.5 + BUSY_SECONDS


@pytest.mark.parametrize(
    "behaviour",
    [
        answer("<html>", content_type="text/html"),
        answer({"status": "success"}),
        answer([7]),
        answer([{"status": 7}]),
        answer([{"startsAt": "soon"}]),
        answer([{"labels": ["a"]}]),
        answer("["),
        answer(b"[" * 200_000 + b"]" * 200_000),
    ],
)
def test_nonsense_is_called_nonsense(behaviour: Behaviour) -> None:
    with standin(behaviour) as server, pytest.raises(NonsenseError) as caught:
        of(server.url).alerts()
    assert len(str(caught.value)) < 400


def test_a_page_is_not_alertmanager() -> None:
    page_of_login = answer("<html>", content_type="text/html")
    with (
        standin(page_of_login) as server,
        pytest.raises(NonsenseError, match="not an Alertmanager API: text/html"),
    ):
        of(server.url).alerts()


def test_the_server_s_own_words_are_told() -> None:
    with standin(answer('"bad matcher format: x"', 400)) as server:
        with pytest.raises(RefusedError, match="returned status 400: bad matcher format: x") as caught:
            of(server.url).alerts()
        assert caught.value.code == "400"


def test_a_token_reaches_its_server_and_nothing_else() -> None:
    tape = Tape()
    with standin(answer([{"labels": {"alertname": "canary-token"}}])) as server:
        alertmanager = Alertmanager(server.url, tape, token="canary-token")
        (told,) = alertmanager.alerts()
    assert server.asked[0].headers["authorization"] == "Bearer canary-token"
    assert "canary" not in repr(alertmanager) + told.name
    assert "canary" not in json.dumps([entry.as_dict() for entry in tape.take_recorded()])
