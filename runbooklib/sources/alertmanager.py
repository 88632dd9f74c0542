"""Alertmanager API v2: alerts and silences."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runbooklib.errors import NonsenseError, ParameterError, RefusedError
from runbooklib.model.alert import Alert
from runbooklib.promql.build import quoted
from runbooklib.sources.http import fetch, target_of
from runbooklib.sources.tape import DEADLINE_SECONDS, Tape

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ALL_STATES = tuple((state, "true") for state in ("active", "silenced", "inhibited", "unprocessed"))
_SHAPE_ERRORS = (KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True)
class Silence:
    """One silence: `state` is active, pending or expired; `matchers` like `alertname="X"`."""

    id: str
    state: str
    matchers: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str

    @classmethod
    def from_alertmanager(cls, fields: Mapping[str, Any]) -> "Silence":
        """A Silence from one element of `/api/v2/silences`."""
        return cls(
            id=str(fields["id"]),
            state=str(fields["status"]["state"]),
            matchers=tuple(_matcher_text(matcher) for matcher in fields["matchers"]),
            starts_at=datetime.fromisoformat(fields["startsAt"]).astimezone(UTC),
            ends_at=datetime.fromisoformat(fields["endsAt"]).astimezone(UTC),
            created_by=str(fields.get("createdBy", "")),
            comment=str(fields.get("comment", "")),
        )


class Alertmanager:
    """One Alertmanager. Times are aware UTC.

    Every method raises UnreachableError, DeadlineError, RefusedError (with the server's own message) or
    NonsenseError.
    """

    def __init__(
        self, url: str, tape: Tape, *, token: str = "", deadline_seconds: float = DEADLINE_SECONDS
    ) -> None:
        self._base = url.rstrip("/")
        self._target = target_of(self._base)
        self._tape = tape
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._deadline_seconds = deadline_seconds
        tape.redactor.know(token)

    def __repr__(self) -> str:
        return f"Alertmanager({self._target!r})"

    def alerts(self, name: str = "", labels: Mapping[str, str] | None = None) -> tuple[Alert, ...]:
        """The current alerts, including silenced and inhibited ones, oldest first.

        `name` and `labels` select alerts; empty selects all. Alertmanager does not keep resolved alerts.
        """
        matchers = {**({"alertname": name} if name else {}), **(labels or {})}
        filters = [("filter", _matcher(label, value)) for label, value in matchers.items()]
        items = self._list("/api/v2/alerts", [*_ALL_STATES, *filters])
        try:
            alerts = [Alert.from_alertmanager(fields) for fields in items]
        except _SHAPE_ERRORS as error:
            raise self._nonsense(error) from None
        last = datetime.max.replace(tzinfo=UTC)
        return tuple(sorted(alerts, key=lambda alert: (alert.starts_at or last, alert.fingerprint)))

    def silences(self) -> tuple[Silence, ...]:
        """All silences, including expired ones, sorted by their end, the latest first."""
        items = self._list("/api/v2/silences", [])
        try:
            silences = [Silence.from_alertmanager(fields) for fields in items]
        except _SHAPE_ERRORS as error:
            raise self._nonsense(error) from None
        return tuple(sorted(silences, key=lambda silence: (silence.ends_at, silence.id), reverse=True))

    def _list(self, path: str, params: Sequence[tuple[str, str]]) -> list[Any]:
        answer = self._tape.ask(
            "alertmanager",
            {"method": "GET", "path": path, "params": [list(pair) for pair in params]},
            lambda: self._fetch(path, params),
            target=self._target,
            deadline_seconds=self._deadline_seconds,
        )
        if not isinstance(answer, list):
            raise self._nonsense(TypeError("not a list"))
        return answer

    def _fetch(self, path: str, params: Sequence[tuple[str, str]]) -> Any:
        about = {"system": "alertmanager", "target": self._target}
        response = fetch(
            "GET",
            f"{self._base}{path}",
            system="alertmanager",
            target=self._target,
            headers=self._headers,
            params=params,
            deadline_seconds=self._deadline_seconds,
        )
        if response.status != 200:
            text = (response.text.strip().splitlines() or [""])[0][:300].strip('"')
            message = f"returned status {response.status}{': ' if text else ''}{text}"
            raise RefusedError(message, **about, code=str(response.status))
        if response.content_type != "application/json":
            message = f"not an Alertmanager API: {response.content_type or 'no content type'}"
            raise NonsenseError(message, **about, hint="check the address")
        return response.json(**about)

    def _nonsense(self, error: Exception) -> NonsenseError:
        message = f"the answer is not in the format of Alertmanager: {str(error)[:200]}"
        return NonsenseError(message, system="alertmanager", target=self._target)


def _matcher(label: str, value: str) -> str:
    if not _LABEL.fullmatch(label):
        raise ParameterError(f"{label!r} is not a label name", hint="use letters, digits and _")
    return f"{label}={quoted(value)}"


def _matcher_text(matcher: Mapping[str, Any]) -> str:
    operator = ("=" if matcher.get("isEqual", True) else "!") + ("~" if matcher.get("isRegex") else "")
    return f"{matcher['name']}{'!=' if operator == '!' else operator}{quoted(str(matcher['value']))}"
