import resource
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from runbooklib.errors import DeadlineError, NonsenseError, RefusedError, SourceError, UnreachableError
from runbooklib.sources.http import MAX_BYTES, Response, fetch, target_of
from tests.support.servers import certificate
from tests.support.stand_in import (
    Behaviour,
    answer,
    black_hole,
    closed_port,
    gzip_bomb,
    huge,
    in_turn,
    reset,
    slow,
    standin,
    trickle_body,
    trickle_headers,
    truncated,
)
from tests.support.timing import BUSY_SECONDS, HANG_SECONDS, seconds_taken


def ask(url: str, *, deadline_seconds: float = 5.0, max_bytes: int = MAX_BYTES) -> Response:
    return fetch("GET", url, system="web", deadline_seconds=deadline_seconds, max_bytes=max_bytes)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def settle(is_so: Callable[[], bool]) -> None:
    ends_at = time.monotonic() + 60
    while not is_so() and time.monotonic() < ends_at:
        time.sleep(0.02)
    assert is_so()


def response_of(body: bytes) -> Response:
    return Response(200, {"content-type": "application/json"}, body, 0.1)


def test_an_answer_has_status_few_headers_text_and_seconds() -> None:
    headers = {"X-Request-ID": "r-1", "Set-Cookie": "session=1", "Retry-After": "30"}
    responses: list[Response] = []
    with standin(answer({"a": 1}, status=429, headers=headers)) as server:
        taken = seconds_taken(lambda: responses.append(ask(server.url)))
    [response] = responses
    assert response.status == 429
    assert response.headers == {
        "content-type": "application/json",
        "retry-after": "30",
        "x-request-id": "r-1",
    }
    assert response.text == '{"a": 1}'
    assert response.json() == {"a": 1}
    assert 0 < response.seconds <= taken


def test_a_request_is_never_compressed_and_its_connection_is_not_kept() -> None:
    with standin(answer()) as server:
        ask(server.url)
    assert server.asked[0].headers["accept-encoding"] == "identity"
    assert server.asked[0].headers["connection"] == "close"


def test_proxies_and_netrc_of_the_environment_are_not_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    netrc = tmp_path_factory.mktemp("home") / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hidden\n")
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.delenv("no_proxy", raising=False)
    with standin(answer()) as server:
        ask(server.url)
    assert "authorization" not in server.asked[0].headers


def test_a_refused_connection_is_unreachable() -> None:
    with pytest.raises(UnreachableError, match="refuses connections"):
        ask(f"http://127.0.0.1:{closed_port()}/")


def test_a_name_that_does_not_resolve_is_unreachable_and_named() -> None:
    with pytest.raises(UnreachableError, match=r"the name 'prometheus\.invalid' cannot be resolved"):
        ask("http://prometheus.invalid:9090/")


@pytest.mark.row("F35", "F37")
@pytest.mark.parametrize(
    "behaviour", [black_hole, trickle_body, trickle_headers, slow(HANG_SECONDS, answer())]
)
def test_a_whole_answer_that_is_late_is_a_deadline_error(behaviour: Behaviour) -> None:
    before = threading.active_count()
    with standin(behaviour) as server:
        begun = time.monotonic()
        with pytest.raises(DeadlineError, match=r"no whole answer within 0\.5 s"):
            ask(server.url, deadline_seconds=0.5)
        assert time.monotonic() - begun < 0.5 + BUSY_SECONDS
        assert len(server.asked) == 1
    settle(lambda: threading.active_count() <= before)


def test_a_listener_that_never_accepts_is_a_deadline_error() -> None:
    with socket.socket() as line:
        line.bind(("127.0.0.1", 0))
        line.listen(0)
        url = f"http://127.0.0.1:{line.getsockname()[1]}/"
        begun = time.monotonic()
        with pytest.raises(DeadlineError):
            ask(url, deadline_seconds=0.5)
        assert time.monotonic() - begun < 0.5 + BUSY_SECONDS


def test_a_slow_answer_within_the_deadline_is_an_answer() -> None:
    with standin(slow(0.3, answer({"ok": True}))) as server:
        assert ask(server.url).json() == {"ok": True}


def test_retry_after_is_not_waited_for() -> None:
    with standin(answer("later", status=429, headers={"Retry-After": "600"})) as server:
        assert seconds_taken(lambda: ask(server.url)) < BUSY_SECONDS
        assert len(server.asked) == 1


def test_an_answer_beyond_the_cap_is_nonsense_and_not_kept_in_memory() -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with standin(huge(300)) as server, pytest.raises(NonsenseError, match="larger than 16 MiB"):
        ask(server.url, deadline_seconds=5)
    grown_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown_kib < 100_000


@pytest.mark.row("H23")
def test_a_gzip_bomb_is_cut_at_its_decoded_size() -> None:
    bomb = gzip_bomb(200)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with standin(bomb) as server, pytest.raises(NonsenseError, match="larger than 16 MiB"):
        ask(server.url, deadline_seconds=5)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000


@pytest.mark.row("H22")
def test_a_redirect_is_refused_named_and_not_followed() -> None:
    with standin(answer({"stolen": True})) as elsewhere:
        location = f"{elsewhere.url}/login?token=canary"
        with standin(answer(status=302, headers={"Location": location})) as server:
            with pytest.raises(RefusedError) as caught:
                ask(server.url)
            assert f"{elsewhere.url}/login" in caught.value.message
            assert caught.value.code == "302"
            assert "canary" not in str(caught.value)
        assert elsewhere.asked == []


def test_a_redirect_is_an_answer_where_the_caller_says_so() -> None:
    with standin(answer(status=302, headers={"Location": "/login"})) as server:
        response = fetch("GET", server.url, system="web", deadline_seconds=5.0, is_redirect_refused=False)
    assert response.headers["location"] == "/login"


@pytest.mark.parametrize("first", [truncated, reset])
def test_a_cut_answer_is_asked_for_once_more(first: Behaviour) -> None:
    with standin(in_turn(first, answer({"ok": True}))) as server:
        assert ask(server.url).json() == {"ok": True}
        assert len(server.asked) == 2


@pytest.mark.row("F43")
def test_an_answer_cut_twice_is_nonsense() -> None:
    with standin(truncated) as server:
        with pytest.raises(NonsenseError, match="breaks off, twice"):
            ask(server.url)
        assert len(server.asked) == 2


@pytest.mark.row("F43")
def test_a_connection_reset_twice_is_unreachable() -> None:
    with standin(reset) as server:
        with pytest.raises(UnreachableError, match="drops the connection, twice"):
            ask(server.url)
        assert len(server.asked) == 2


def test_what_does_not_speak_http_is_nonsense() -> None:
    def greet(line: object, _: object) -> None:
        line.sendall(b"220 mail.example.com ESMTP\r\n")  # type: ignore[attr-defined]

    with standin(greet) as server, pytest.raises(NonsenseError, match="does not speak HTTP"):
        ask(server.url)


def test_a_certificate_that_nobody_vouches_for_is_unreachable(tmp_path: Path) -> None:
    sealed = certificate(tmp_path)
    with standin(answer(), sealed) as server, pytest.raises(UnreachableError, match="TLS: self-signed"):
        ask(server.url)


def test_a_certificate_that_this_machine_vouches_for_is_good(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(sealed))
    with standin(answer({"ok": True}), sealed) as server:
        assert ask(server.url).json() == {"ok": True}


@pytest.mark.parametrize("url", ["ftp://somewhere/", "http://[broken/", "nowhere", "http:///x"])
def test_an_address_that_cannot_be_asked_is_unreachable(url: str) -> None:
    with pytest.raises(UnreachableError):
        ask(url)


def test_messages_hold_no_credentials_and_no_query() -> None:
    url = f"http://somebody:canary@127.0.0.1:{closed_port()}/api?token=canary"
    with pytest.raises(SourceError) as caught:
        fetch("GET", url, system="web", params=[("key", "canary")], deadline_seconds=5.0)
    assert "canary" not in str(caught.value)
    assert caught.value.target.startswith("http://127.0.0.1:")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_target_is_scheme_host_port_and_path() -> None:
    assert target_of("https://u:p@[::1]:9090/prometheus/?x=1#y") == "https://[::1]:9090/prometheus"


@pytest.mark.row("H26")
def test_invalid_utf8_is_kept_as_escapes() -> None:
    response = response_of(b'{"name": "caf\xe9 \xf0\x9f\x98\x80"}')
    assert response.text == '{"name": "caf\\xe9 \U0001f600"}'
    assert response.json() == {"name": "caf\\xe9 \U0001f600"}
    assert not response.is_utf8


def test_no_socket_stays_open() -> None:
    before = open_files()
    with standin(in_turn(truncated, answer({}))) as server:
        ask(server.url)
    with standin(black_hole) as silent, pytest.raises(DeadlineError):
        ask(silent.url, deadline_seconds=0.2)
    settle(lambda: open_files() <= before)
