"""What could not be checked: grouped by reason, reachability first, with the way to get an answer."""

from datetime import UTC, datetime

from runbooklib.errors import NotConfiguredError, Reason, SourceError, UnreachableError
from runbooklib.model.findings import Finding, Status, unknown
from runbooklib.model.verdict import judge
from runbooklib.render import html
from runbooklib.render.unanswered import Unanswered, by_reason
from tests.support.incident import opened

DOCKER = "add systems.docker to the environment's file"


def missing(question: str, error: SourceError) -> Finding:
    """The finding of a check whose source raises this error."""

    def asks(_: object) -> Finding:
        raise error

    asks.__doc__, asks.__name__ = question, question.lower().strip("?").replace(" ", "_")
    return opened()[0].check(asks)


def not_configured(question: str, system: str = "docker") -> Finding:
    message, hint = (
        "is not configured for this environment",
        f"add systems.{system} to the environment's file",
    )
    return missing(question, NotConfiguredError(message, system=system, hint=hint))


DOWN = UnreachableError("refuses connections", system="prometheus", target="http://p:9090", hint="start it")
THIN = unknown(Reason.THIN_TRAFFIC, "10 requests.", question="Do requests fail?")
FINDINGS = [
    not_configured("Is the container up?"),
    THIN,
    not_configured("Was memory short?"),
    not_configured("What was deployed?", "git"),
    missing("Is it scraped?", DOWN),
    not_configured("Is the container up?"),
]


def test_a_system_is_one_line_with_all_its_questions_and_reachability_comes_first() -> None:
    assert by_reason(FINDINGS) == [
        Unanswered(
            "Unreachable: prometheus at http://p:9090: refuses connections", "start it", ("Is it scraped?",)
        ),
        Unanswered(
            "Not configured: docker: is not configured for this environment",
            DOCKER,
            ("Is the container up?", "Was memory short?"),
        ),
        Unanswered(
            "Not configured: git: is not configured for this environment",
            "add systems.git to the environment's file",
            ("What was deployed?",),
        ),
        Unanswered("Too little traffic: 10 requests.", "", ("Do requests fail?",)),
    ]


def test_the_page_names_each_reason_once_with_its_questions() -> None:
    page = html.verdict_card(judge(FINDINGS, []), "about")
    listed = page[page.index("Not checked") :]
    assert listed.count("docker: is not configured") == 1
    assert "Is the container up? Was memory short?" in listed
    assert listed.index("http://p:9090") < listed.index("docker") < listed.index("10 requests")
    assert "for this environment. To get an answer: add systems.docker to the environment" in listed


def test_every_reason_has_its_place() -> None:
    findings = [unknown(reason, "Why.", question=f"{reason}?") for reason in Reason]
    assert len(by_reason(findings)) == len(Reason)


def test_the_page_says_since_when() -> None:
    began = datetime(2026, 1, 15, 3, 12, tzinfo=UTC)
    failing = Finding(status=Status.CRITICAL, template="Requests fail.", source="prometheus", since=began)
    assert "<b>since 2026-01-15 03:12:00 UTC</b>" in html.verdict_card(judge([failing], []), "about")
    assert "since" not in html.verdict_card(judge([THIN], []), "about")
