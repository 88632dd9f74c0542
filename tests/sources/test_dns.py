import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import dns.rcode
import pytest

from runbooklib.errors import DeadlineError, NotRecordedError, ParameterError, UnreachableError
from runbooklib.sources.dns import Dns, Resolution
from runbooklib.sources.tape import Tape, pack, unpack
from tests.support.servers import certificate
from tests.support.stand_in import answer, black_hole, closed_port, name_server, standin
from tests.support.timing import BUSY_SECONDS, seconds_taken

SAYS: dict[str, str | dns.rcode.Rcode] = {
    "here.test": "127.0.0.1",
    "six.test": "::1",
    "broken.test": dns.rcode.SERVFAIL,
    "refused.test": dns.rcode.REFUSED,
}


@pytest.fixture(scope="module")
def resolver() -> Iterator[str]:
    with name_server(SAYS) as address:
        yield address


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return certificate(tmp_path_factory.mktemp("certificate"))


def of(*nameservers: str, deadline_seconds: float = 5.0) -> Dns:
    return Dns(nameservers, Tape(), deadline_seconds=deadline_seconds)


def test_a_name_has_addresses_and_a_resolver(resolver: str) -> None:
    resolved: list[Resolution] = []
    taken = seconds_taken(lambda: resolved.append(of(resolver).resolve("here.test")))
    [found] = resolved
    assert (found.addresses, found.resolver, found.error) == (("127.0.0.1",), resolver, "")
    assert 0 < found.seconds <= taken


def test_a_name_with_only_ipv6_has_that(resolver: str) -> None:
    assert of(resolver).resolve("six.test").addresses == ("::1",)


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("nobody.test", "NXDOMAIN"),
        ("broken.test", "SERVFAIL"),
        ("refused.test", "REFUSED"),
    ],
)
def test_what_a_resolver_says_instead_of_an_address_is_an_answer(
    resolver: str, host: str, words: str
) -> None:
    found = of(resolver).resolve(host)
    assert found.addresses == ()
    assert found.error.startswith(words)
    reach = of(resolver).reach(f"https://{host}")
    assert (reach.failed_at, reach.error, reach.tcp_seconds) == ("dns", found.error, None)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_an_address_and_localhost_need_no_resolver(host: str) -> None:
    found = of(f"127.0.0.1:{closed_port()}").resolve(host)
    assert found.addresses[0] in ("127.0.0.1", "::1")
    assert found.resolver == ""


def test_a_resolver_that_is_silent_is_a_deadline_error_that_names_it() -> None:
    with name_server({}, is_silent=True) as silent:
        dns_of = of(silent, deadline_seconds=0.5)

        def question() -> None:
            with pytest.raises(DeadlineError, match=rf"dns at {silent}: no answer"):
                dns_of.resolve("here.test")

        assert seconds_taken(question) < 0.5 + BUSY_SECONDS


@pytest.mark.alone
def test_a_dead_resolver_is_not_waited_for_twice_and_hinders_no_address() -> None:
    with name_server({}, is_silent=True) as silent, standin(answer()) as server:
        dns_of = of(silent, deadline_seconds=2.0)

        def waiting() -> None:
            with pytest.raises(DeadlineError):
                dns_of.resolve("here.test")

        def again() -> None:
            with pytest.raises(DeadlineError):
                dns_of.reach("https://there.test")

        waited = seconds_taken(waiting)
        assert seconds_taken(again) < waited / 2
        assert dns_of.reach(server.url).failed_at == ""


def test_a_second_resolver_answers_for_a_silent_one(resolver: str) -> None:
    with name_server({}, is_silent=True) as silent:
        found = of(silent, resolver).resolve("here.test")
    assert (found.addresses, found.resolver) == (("127.0.0.1",), resolver)


def test_a_resolver_that_cannot_be_reached_is_an_error_that_names_it() -> None:
    nobody = f"127.0.0.1:{closed_port()}"
    with pytest.raises((UnreachableError, DeadlineError), match=nobody):
        of(nobody, deadline_seconds=0.5).resolve("here.test")


def test_an_open_port_is_reached(resolver: str) -> None:
    with standin(answer()) as server:
        port = int(server.url.rsplit(":", 1)[1])
        reach = of(resolver).reach(f"http://here.test:{port}/some/path?key=canary")
    assert (reach.host, reach.port, reach.failed_at, reach.error) == ("here.test", port, "", "")
    assert (reach.addresses, reach.resolver) == (("127.0.0.1",), resolver)
    assert reach.dns_seconds is not None
    assert reach.tcp_seconds is not None
    assert reach.tls_seconds is None
    assert "canary" not in repr(reach)


def test_a_refused_connection_is_an_answer(resolver: str) -> None:
    reach = of(resolver).reach(f"https://here.test:{closed_port()}")
    assert (reach.failed_at, reach.error) == ("tcp", "Connection refused")


def test_a_port_that_takes_nobody_is_an_answer_within_the_deadline() -> None:
    with socket.socket() as line, socket.socket() as first:
        line.bind(("127.0.0.1", 0))
        line.listen(0)
        first.connect(line.getsockname())
        reach = of(deadline_seconds=2.0).reach(f"tcp://127.0.0.1:{line.getsockname()[1]}")
    assert reach.failed_at == "tcp"
    assert reach.error == "no answer within 1.8 s"


def test_a_certificate_that_nobody_vouches_for_is_an_answer(sealed: Path) -> None:
    with standin(answer(), sealed) as server:
        reach = of().reach(server.url)
    assert reach.failed_at == "tls"
    assert reach.error == "certificate: self-signed certificate"
    assert reach.tcp_seconds is not None
    assert reach.certificate_expires_at is None


def test_a_certificate_for_another_name_is_an_answer(
    resolver: str, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(sealed))
    with standin(answer(), sealed) as server:
        reach = of(resolver).reach(server.url.replace("127.0.0.1", "here.test"))
    assert reach.failed_at == "tls"
    assert "here.test" in reach.error


def test_a_good_certificate_tells_when_it_expires(sealed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(sealed))
    with standin(answer(), sealed) as server:
        reach = of().reach(server.url)
    assert (reach.failed_at, reach.error) == ("", "")
    assert reach.tls_seconds is not None
    assert reach.certificate_expires_at is not None
    left = reach.certificate_expires_at - datetime.now(UTC)
    assert timedelta(days=29) < left <= timedelta(days=30)


def test_a_port_that_does_not_speak_tls_is_an_answer() -> None:
    with standin(black_hole) as server:
        reach = of(deadline_seconds=3.0).reach(server.url.replace("http:", "https:"))
    assert reach.failed_at == "tls"


@pytest.mark.parametrize("url", ["", "here.test", "tcp://here.test", "https://", "https://here.test:port"])
def test_a_url_without_host_or_port_is_refused(url: str) -> None:
    with pytest.raises(ParameterError):
        of().reach(url)


@pytest.mark.parametrize("host", ["", "a..b", "x" * 64 + ".test"])
def test_what_is_no_name_is_refused(host: str) -> None:
    with pytest.raises(ParameterError, match="is not a host name"):
        of().resolve(host)


@pytest.mark.parametrize("nameserver", ["", "resolver.test", "10.0.0.1:many"])
def test_what_is_no_name_server_is_refused(nameserver: str) -> None:
    with pytest.raises(ParameterError, match="not a name server"):
        of(nameserver)


def test_a_replay_gives_the_same_without_resolver_and_server(
    resolver: str, sealed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(sealed))
    live = Tape()
    with standin(answer(), sealed) as server:
        before = everything(Dns([resolver], live), server.url)
    entries = unpack(json.loads(json.dumps(pack(live.take_recorded()))))
    replay = Dns(["127.0.0.9"], Tape(recording=entries))
    assert everything(replay, server.url) == before
    with pytest.raises(NotRecordedError):
        replay.resolve("other.test")


def everything(asked: Dns, url: str) -> list[Any]:
    names = ("here.test", "nobody.test", "broken.test")
    urls = (url, "https://nobody.test", "http://here.test:1")
    return [asked.resolve(name) for name in names] + [asked.reach(one) for one in urls]
