"""The link in an alert's annotation: `runbooks/open?alertname=…&<labels>&starts_at=…`, written and read.

Anyone who can send a link controls its content. So a link only selects: the alert, the environment, the
service, and the text parameters that the notebook declares to be "as in the alert's label". It sets no
limit, because a link could then turn a problem into an OK.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, urlencode

from runbooklib.config.parameters import Declared
from runbooklib.config.runbooks import Runbook
from runbooklib.errors import ParameterError
from runbooklib.model.window import moment_of
from runbooklib.text import hidden, quoted

PAGE = "runbooks"
OPEN = "runbooks/open"
ALERT, ENVIRONMENT, SERVICE, STARTS_AT = "alertname", "environment", "service", "starts_at"
_OURS = frozenset({ALERT, ENVIRONMENT, STARTS_AT})
_FROM_LABEL = "as in the alert's label"
_MAX_PAIRS = 100
_MAX_CHARACTERS = 200
_OLDEST = datetime(2000, 1, 1, tzinfo=UTC)
# The clock of the system that raised the alert may be ahead of this machine's clock.
_AHEAD = timedelta(hours=1)
# An unescaped + is a space in a query.
_ZONE = re.compile(r"(?<=T.{5}) (?=\d\d:?\d\d$)|(?<=T.{8}) (?=\d\d:?\d\d$)|(?<=\.\d{3}) (?=\d\d:?\d\d$)")


@dataclass(frozen=True, slots=True)
class Link:
    """The content of a link. `labels` are the other labels; `starts_at` is aware UTC, None if unknown."""

    alert: str
    environment: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    starts_at: datetime | None = None

    @property
    def query(self) -> str:
        """The link's query, without the `?`."""
        fields = {ALERT: self.alert, ENVIRONMENT: self.environment}
        fields |= {name: value for name, value in self.labels.items() if name not in _OURS}
        if self.starts_at:
            fields[STARTS_AT] = f"{self.starts_at:%Y-%m-%dT%H:%M:%SZ}"
        return urlencode({name: value for name, value in fields.items() if value})


def read(query: str, now: datetime) -> Link:
    """The link of this query. As in Prometheus, an empty label counts as absent. Raises ParameterError."""
    fields = parse_query(query)
    alert = fields.get(ALERT, "")
    if not alert:
        raise ParameterError(f"the link names no alert ({ALERT})", hint=f"add ?{ALERT}=HighErrorRate")
    for name in (ALERT, ENVIRONMENT):
        _refuse_unfit(name, fields.get(name, ""))
    starts_at = moment(fields[STARTS_AT], now) if fields.get(STARTS_AT) else None
    labels = {name: value for name, value in fields.items() if value and name not in _OURS}
    return Link(alert, fields.get(ENVIRONMENT, ""), labels, starts_at)


def parse_query(query: str) -> dict[str, str]:
    """The names and values of a query, each once. Raises ParameterError."""
    try:
        listed = parse_qsl(query, keep_blank_values=True, errors="strict", max_num_fields=_MAX_PAIRS)
    except ValueError:
        raise ParameterError(
            "the link cannot be read", hint=f"at most {_MAX_PAIRS} pairs, percent-encoded UTF-8"
        ) from None
    fields: dict[str, str] = {}
    for name, value in listed:
        if name in fields:
            raise ParameterError(f"the link contains {quoted(name)} twice", hint="leave one out")
        fields[name] = value
    return fields


def moment(text: str, now: datetime) -> datetime:
    """The alert's start time, to the second, as aware UTC. Raises ParameterError."""
    if len(text) > 40:
        raise ParameterError(f"{quoted(text)} is not a time", hint='write it like "2026-01-15T03:12:00Z"')
    starts_at = moment_of(_ZONE.sub("+", text)).replace(microsecond=0)
    if not _OLDEST <= starts_at <= now + _AHEAD:
        raise ParameterError(
            f"{STARTS_AT} is {text!r}, which cannot be an alert's start time",
            hint="pass the alert's startsAt",
        )
    return starts_at


def link_parameters(runbook: Runbook, link: Link) -> dict[str, str]:
    """The parameters that the link sets. Raises ParameterError for a long or unprintable value."""
    values = {name: link.labels[name] for name in parameters_from_labels(runbook) if name in link.labels}
    if link.environment:
        values[ENVIRONMENT] = link.environment
    for name, value in values.items():
        _refuse_unfit(name, value)
    return values


def parameters_from_labels(runbook: Runbook) -> list[str]:
    """The parameters of a runbook that a label of its alert may set."""
    return [name for name, parameter in runbook.declared.items() if _may_come_from_label(parameter)]


def _may_come_from_label(parameter: Declared) -> bool:
    return parameter.type is str and (parameter.name == SERVICE or _FROM_LABEL in parameter.help)


def _refuse_unfit(name: str, value: str) -> None:
    if len(value) > _MAX_CHARACTERS:
        raise ParameterError(
            f"{name} has {len(value):,} characters", hint=f"at most {_MAX_CHARACTERS} are read"
        )
    if fault := hidden(value) or ("a line break" if "\n" in value else ""):
        raise ParameterError(f"{name} contains {fault}", hint="use plain text")
