import json
from typing import Any

import pytest

from runbooklib.errors import DeadlineError, NonsenseError, NotRecordedError, ParameterError, UnreachableError
from runbooklib.sources.tape import Tape, pack, unpack
from runbooklib.sources.web import MAX_TEXT, Page, Web
from tests.support.stand_in import answer, black_hole, closed_port, huge, standin
from tests.support.timing import BUSY_SECONDS, seconds_taken

SICK = {"status": "unhealthy", "components": {"database": {"status": "unhealthy", "message": "no"}}}


def page_of(body: Any, path: str = "/health", **more: Any) -> Page:
    with standin(answer(body, **more)) as server:
        return Web(server.url, Tape(), deadline_seconds=5.0).page(path)


def test_a_page_has_status_seconds_json_and_request_id() -> None:
    pages: list[Page] = []
    taken = seconds_taken(lambda: pages.append(page_of(SICK, status=503, headers={"X-Request-ID": "r-1"})))
    [page] = pages
    assert (page.path, page.status, page.content_type) == ("/health", 503, "application/json")
    assert page.json == SICK
    assert json.loads(page.text) == SICK
    assert page.request_id == "r-1"
    assert 0 < page.seconds <= taken


@pytest.mark.parametrize("status", [200, 204, 301, 400, 401, 404, 429, 500, 502, 503, 599])
def test_every_status_is_an_answer(status: int) -> None:
    assert page_of(b"", status=status, content_type="text/plain").status == status


def test_a_redirect_is_an_answer_that_is_not_followed() -> None:
    with standin(answer("stolen")) as elsewhere:
        location = f"{elsewhere.url}/login?token=canary"
        page = page_of(b"", status=302, headers={"Location": location})
        assert (page.status, page.location) == (302, f"{elsewhere.url}/login")
        assert elsewhere.asked == []


def test_only_get_is_asked_with_path_and_query_as_given() -> None:
    with standin(answer("ok", content_type="text/plain")) as server:
        page = Web(f"{server.url}/site/", Tape()).page("/stats?of=a%20b&of=c")
    assert (server.asked[0].method, server.asked[0].path) == ("GET", "/site/stats")
    assert server.asked[0].params == {"of": ["a b", "c"]}
    assert (page.text, page.json) == ("ok", None)


@pytest.mark.parametrize("path", ["health", "", "http://elsewhere/", "@elsewhere/"])
def test_what_is_no_path_is_refused(path: str) -> None:
    with pytest.raises(ParameterError, match="not a path"):
        Web("http://127.0.0.1:1", Tape()).page(path)


def test_a_long_text_is_cut_and_its_json_is_whole() -> None:
    page = page_of({"text": "x " * 50_000})
    assert len(page.text) == MAX_TEXT
    assert len(page.json["text"]) == 100_000


@pytest.mark.parametrize("body", ["{", b"[" * 200_000 + b"]" * 200_000, '{"a": 1, "a": 2}'])
def test_json_that_is_none_is_text(body: Any) -> None:
    page = page_of(body)
    assert page.json is None
    assert page.text.startswith(("{", "["))


def test_invalid_utf8_is_kept_as_escapes() -> None:
    assert page_of(b"caf\xe9", content_type="text/plain").text == "caf\\xe9"


def test_a_closed_port_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="refuses connections"):
        Web(f"http://127.0.0.1:{closed_port()}", Tape()).page("/health")


def test_a_silent_service_is_given_up_at_the_deadline() -> None:
    def question() -> None:
        with pytest.raises(DeadlineError):
            Web(server.url, Tape(), deadline_seconds=0.5).page("/health")

    with standin(black_hole) as server:
        assert seconds_taken(question) < 0.5 + BUSY_SECONDS


def test_a_page_without_end_is_nonsense() -> None:
    with standin(huge(40)) as server, pytest.raises(NonsenseError, match="larger than 16 MiB"):
        Web(server.url, Tape()).page("/health")


def test_a_replay_gives_the_same_page() -> None:
    live = Tape()
    with standin(answer(SICK, status=503)) as server:
        before = Web(server.url, live).page("/health")
    entries = unpack(json.loads(json.dumps(pack(live.take_recorded()))))
    replay = Web("http://127.0.0.1:1", Tape(recording=entries))
    assert replay.page("/health") == before
    with pytest.raises(NotRecordedError):
        replay.page("/metrics")
