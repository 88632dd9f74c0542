"""Every check times every way in which its source can fail or lie: none of them is ever OK.

Checks are found by introspection. Which sources a check asks is seen on a site where everything is sound;
then each of them fails or lies in turn, alone, so that no other failure hides it.
"""

import json
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from os import mkfifo
from pathlib import Path
from typing import Any

import pytest

from runbooklib.errors import Reason
from runbooklib.model.findings import Finding, Status
from runbooklib.notebook.incident import Incident
from runbooklib.notebook.listener import IncidentListener
from runbooklib.render.sentences import sentence
from runbooklib.sources.tape import Tape
from tests.support import sound_site
from tests.support.every_check import checks, limits_of, unmarked
from tests.support.lies import HTTP, SOUND, Respond, but_for_the_preamble, cases, raw, resolver
from tests.support.stand_in import by_request, closed_port, name_server, standin
from tests.support.survey import Survey

# The web faults that are an HTTP answer, whatever is in it.
_ANSWERS = (
    *("401", "403", "429", "500", "503", "HTML", "HTML as JSON", "redirect", "no body", "null", "a number"),
    *("a list of numbers", "an object of nothing", "an object of nulls", "200k deep"),
)
_IS_ALIVE = "a service that answers with any status is there; whether it is well, other checks say"
# Where a lie may be OK, and why. Nothing else may; a new check is not among these.
ABSENCE_IS_GOOD: dict[tuple[str, str], tuple[tuple[str, ...], str]] = {
    ("log_lines", "docker"): (("no body",), "an empty log has no matching entry"),
    ("new_exceptions", "docker"): (("no body",), "an empty log has no exception"),
    ("service_reachable", "web"): (_ANSWERS, _IS_ALIVE),
    ("alive_though_unscraped", "web"): (_ANSWERS, _IS_ALIVE),
    ("container_deaths", "docker"): (
        ("no body",),
        "an engine without events: its description of the container shows that it has run since before",
    ),
    ("service_login", "docker"): (
        ("no body",),
        "an empty log has no refusal, and the server lets the role in",
    ),
    ("key_functions", "web"): (
        ("a number", "a list of numbers", "an object of nothing", "an object of nulls"),
        "JSON below 300 is an answer of the function; whether it is a good one only the service knows",
    ),
}
# Those that are OK where Alertmanager truly has no alert; on the sound site it has none.
SOUND_WITHOUT_ALERTS = {"firing_alert", "related_alerts"}
# Checks that rest on another system and ask this one whether only the service's own pages fail. If it does
# not answer, what the other system says stands.
RESTS_ELSEWHERE = {("deployments", "prometheus"), ("running_revision", "prometheus")}
SHORT, LONG = 0.6, 8.0
VARIANTS = ("before anything is known", "since it began")


# What every check on Prometheus asks besides: a second witness that can only take an OK away. Where it fails,
# the finding rests on Prometheus alone.
SECOND_WITNESS = {"process starts", "workers"}


class WatchedTape(Tape):
    """A tape that knows which systems were asked since it was last looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def ask(self, source: str, request: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        if request.get("question") not in SECOND_WITNESS:
            self.asked.add(source)
        return super().ask(source, request, *args, **kwargs)


@dataclass
class Site:
    """Where everything is; `soundly` is what each check found there, and whom it asked."""

    systems: dict[str, Any]
    service: dict[str, Any]
    revision: str
    port: int
    soundly: dict[tuple[str, str], tuple[Finding, set[str]]] = field(default_factory=dict)

    def with_system(self, source: str, place: str) -> "Site":
        """The same site with one system elsewhere."""
        systems, service = dict(self.systems), dict(self.service)
        if source == "web":
            service["url"] = place
        elif source == "dns":
            systems["dns"] = {"nameservers": [place]}
            service["url"] = f"http://{sound_site.NAME}:{service['url'].rpartition(':')[2]}"
        else:
            key = {"postgres": "dsn", "git": "repository"}.get(source, "url")
            systems[source] = {**systems[source], key: place}
        return replace(self, systems=systems, service=service)

    def users(self, source: str, variant: str) -> list[str]:
        """The checks that ask this source."""
        return [
            name for (one, name), (_, asked) in self.soundly.items() if one == variant and source in asked
        ]


def ask(
    site: Site, names: Sequence[str], variant: str, deadline_seconds: float
) -> dict[str, tuple[Finding, set[str]]]:
    """What the checks find at this site, in one incident."""
    tape = WatchedTape()
    context = sound_site.make_context(site.systems, site.service, tape, deadline_seconds=deadline_seconds)
    if variant != VARIANTS[0]:
        context = replace(context, onset=context.window.end - timedelta(minutes=30), is_disturbed=True)
    ledger = Incident(context, tape, IncidentListener()).cause("any", "Any")
    found = {}
    for name in names:
        check = checks()[name]
        tape.asked = set()
        found[name] = ledger.check(check, **limits_of(check)), tape.asked - {"clock"}
    return found


def _resolved(host: Any, *rest: Any, **options: Any) -> Any:
    """This machine's resolver, which also knows the name of the sound site."""
    return _SYSTEM_RESOLVER("127.0.0.1" if host == sound_site.NAME else host, *rest, **options)


_SYSTEM_RESOLVER = socket.getaddrinfo


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("clone")
    revision = sound_site.clone(folder)
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv(sound_site.TOKEN_VARIABLE, sound_site.TOKEN)
        patch.setattr(socket, "getaddrinfo", _resolved)
        responds: dict[str, Respond] = {**SOUND, "docker": sound_site.SoundDocker(revision)}
        url = {name: stack.enter_context(standin(by_request(one))).url for name, one in responds.items()}
        port = stack.enter_context(sound_site.database())
        names = stack.enter_context(name_server({sound_site.NAME: "127.0.0.1"}))
        systems = {
            **{
                name: {"url": url[name], "token_env": sound_site.TOKEN_VARIABLE}
                for name in SOUND
                if name != "web"
            },
            "docker": {"url": url["docker"].replace("http://", "tcp://")},
            "postgres": {"dsn": sound_site.dsn(port)},
            "dns": {"nameservers": [names]},
            "git": {"repository": str(folder)},
        }
        service = {
            "url": url["web"],
            "containers": ["backend"],
            "database": {"role": "reader", "name": "postgres"},
            "key_functions": [{"name": "list", "path": "/list"}],
            "dependencies": [
                {"name": "provider", "url": f"http://{sound_site.NAME}:{url['web'].rpartition(':')[2]}"}
            ],
        }
        found = Site(systems, service, revision, port)
        for variant in VARIANTS:
            asked = ask(found, list(checks()), variant, LONG)
            found.soundly |= {(variant, name): one for name, one in asked.items()}
        # Asked of the resolver where the service has a name.
        named = found.with_system("dns", names)
        for name in ("service_reachable", "alive_though_unscraped"):
            found.soundly |= {(v, name): ask(named, [name], v, LONG)[name] for v in VARIANTS}
        yield found


@contextmanager
def lying(site: Site, source: str, respond: Respond) -> Iterator[Site]:
    """The site with one system that answers like this."""
    with standin(by_request(respond)) as server:
        place = server.url.replace("http://", "tcp://") if source == "docker" else server.url
        yield site.with_system(source, place)


def _may_be_ok(name: str, source: str, fault: str) -> bool:
    if (name, source) in RESTS_ELSEWHERE:
        return True
    faults, _ = ABSENCE_IS_GOOD.get((name, source), ((), ""))
    return fault in faults


def judged(site: Site, source: str, fault: str, deadline_seconds: float) -> dict[tuple[str, str], Finding]:
    """What every check that asks this source finds now, both ways; those that are declared are left out."""
    found = {}
    for variant in VARIANTS:
        names = [n for n in site.users(source, variant) if not _may_be_ok(n, source, fault)]
        for name, (finding, _) in ask(site, names, variant, deadline_seconds).items():
            found[variant, name] = finding
    return found


def never_ok(found: dict[tuple[str, str], Finding], survey: Survey) -> None:
    """None is OK, and none holds a secret."""
    told = {f"{name} {variant}": sentence(finding) for (variant, name), finding in found.items()}
    for (variant, name), finding in found.items():
        if finding.status is Status.OK:
            print(f"OK on a lie: {name} {variant}: {sentence(finding)}")
        if finding.reason is Reason.NONSENSE and "check itself failed" in finding.template:
            print(f"failed itself: {name} {variant}: {sentence(finding)}")
            raise AssertionError(name)
    survey.never_ok(finding.status for finding in found.values())
    survey.no_canary({"sentences": json.dumps(told)}, sound_site.TOKEN)


def test_every_function_that_returns_a_finding_is_marked_as_a_check() -> None:
    assert unmarked() == set()
    assert len(checks()) > 60


def test_where_everything_is_sound_every_check_can_judge(site: Site) -> None:
    """Else a lie would be unknown for another reason, and this module would prove nothing."""
    unknown = {
        (variant, name): sentence(finding)
        for (variant, name), (finding, _) in site.soundly.items()
        if finding.status is Status.UNKNOWN
    }
    assert {name for _, name in unknown} <= {"lasting"}, unknown
    ok = {name for (_, name), (finding, _) in site.soundly.items() if finding.status is Status.OK}
    assert set(checks()) - ok == set()
    asked = {name for (_, name), (_, sources) in site.soundly.items() if sources}
    assert set(checks()) - asked == {"lasting"}  # which asks nobody
    assert {n for v, n in site.soundly if "alertmanager" in site.soundly[v, n][1]} == SOUND_WITHOUT_ALERTS


@pytest.mark.parametrize(("source", "fault", "respond"), cases("prometheus", "alertmanager", "web", "docker"))
def test_no_check_is_ok_where_its_source_fails_or_lies(
    site: Site, source: str, fault: str, respond: Respond, survey: Survey
) -> None:
    deadline = SHORT if fault in ("hang", "trickle") else LONG
    with lying(site, source, respond) as faulty:
        found = judged(faulty, source, fault, deadline)
        never_ok(found, survey)
    if fault in HTTP and source != "web":
        place = faulty.systems[source]["url"]
        assert [f for f in found.values() if place not in sentence(f)] == []  # R7: system and endpoint


@pytest.mark.parametrize(("source", "fault", "respond"), cases("prometheus", "docker"))
def test_no_check_is_ok_where_only_what_it_measures_is_a_lie(
    site: Site, source: str, fault: str, respond: Respond, survey: Survey
) -> None:
    responds: dict[str, Respond] = {**SOUND, "docker": sound_site.SoundDocker(site.revision)}
    deadline = SHORT if fault in ("hang", "trickle") else LONG
    with lying(site, source, but_for_the_preamble(responds[source], respond)) as faulty:
        found = judged(faulty, source, fault, deadline)
    if source == "docker":  # what only inspects has not been lied to
        found = {key: one for key, one in found.items() if key[1] not in INSPECTS}
    never_ok(found, survey)


INSPECTS = {"container_state", "memory_usage", "running_revision"}


@pytest.mark.row("F33", "F34")
@pytest.mark.parametrize("source", ["prometheus", "alertmanager", "web", "docker", "postgres"])
@pytest.mark.parametrize("way", ["refused", "DNS"])
def test_no_check_is_ok_where_its_source_cannot_be_reached(
    site: Site, source: str, way: str, survey: Survey
) -> None:
    host, port = ("127.0.0.1", closed_port()) if way == "refused" else ("nowhere.invalid", 9090)
    place = f"{'tcp' if source == 'docker' else 'http'}://{host}:{port}"
    faulty = site.with_system(source, sound_site.dsn(port, host=host) if source == "postgres" else place)
    found = judged(faulty, source, way, LONG)
    never_ok(found, survey)
    if (source, way) == ("postgres", "refused"):
        answers = [found.pop((variant, "database_answers")) for variant in VARIANTS]
        assert {f.status for f in answers} == {Status.CRITICAL}
    if source == "web":  # whether it can be reached is what these ask
        answers = [found.pop((variant, "service_reachable")) for variant in VARIANTS]
        assert {f.status for f in answers} == {Status.CRITICAL}
        for variant in VARIANTS:
            del found[variant, "alive_though_unscraped"]
    assert {f.reason for f in found.values()} == {Reason.UNREACHABLE}
    assert [f for f in found.values() if f"{host}:{port}" not in sentence(f)] == []


@pytest.mark.parametrize("say", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"N", b"\0" * 64], ids=repr)
def test_no_check_is_ok_where_the_database_hangs_or_is_none(site: Site, say: bytes, survey: Survey) -> None:
    with raw(say) as port:
        found = judged(
            site.with_system("postgres", sound_site.dsn(port)), "postgres", "raw", 1.0 if not say else LONG
        )
        never_ok(found, survey)


@pytest.mark.parametrize(("user", "database"), [("nobody", "postgres"), ("reader", "nosuch")])
def test_no_check_is_ok_where_the_database_refuses_us(
    site: Site, user: str, database: str, survey: Survey
) -> None:
    place = sound_site.dsn(site.port, user).replace("dbname=postgres", f"dbname={database}")
    never_ok(judged(site.with_system("postgres", place), "postgres", "refusal", LONG), survey)


GIT_FAULTS = ("nowhere", "no repository", "no tags", "damaged", "hang")


@pytest.mark.parametrize("fault", GIT_FAULTS)
def test_no_check_is_ok_where_the_clone_is_none(
    site: Site, fault: str, tmp_path: Path, survey: Survey
) -> None:
    place = tmp_path / "clone"
    if fault != "nowhere":
        place.mkdir()
    if fault in ("no tags", "damaged", "hang"):
        sound_site.clone(place)
    if fault == "no tags":
        (place / ".git" / "refs" / "tags" / "deploy" / "1").unlink()
    if fault == "damaged":
        for one in (place / ".git" / "objects").glob("??/*"):
            one.chmod(0o600)
            one.write_bytes(b"damaged")
    if fault == "hang":
        mkfifo(place / ".git" / "packed-refs")
    found = judged(site.with_system("git", str(place)), "git", fault, SHORT if fault == "hang" else LONG)
    never_ok(found, survey)


@pytest.mark.parametrize("fault", ["refused", "hang", "garbage", "SERVFAIL", "REFUSED", "NXDOMAIN"])
def test_no_check_is_ok_where_names_cannot_be_resolved(site: Site, fault: str, survey: Survey) -> None:
    with resolver(fault) as place:
        deadline = SHORT if fault in ("hang", "refused", "garbage") else LONG
        never_ok(judged(site.with_system("dns", place), "dns", fault, deadline), survey)
