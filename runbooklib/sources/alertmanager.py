"""Alertmanager, by its API v2: which alerts there are, and what keeps them quiet."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from runbooklib.alerts import Alert
from runbooklib.errors import NonsenseError, ParameterError, RefusedError
from runbooklib.http import fetch, target_of
from runbooklib.promql import quoted
from runbooklib.tape import DEADLINE_SECONDS, Tape

_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_ALL_STATES = tuple((state, "true") for state in ("active", "silenced", "inhibited", "unprocessed"))
_SHAPE_ERRORS = (KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True, slots=True)
class Silence:
    """What somebody muted: `state` is active, pending or expired; `matchers` like `alertname="X"`."""

    id: str
    state: str
    matchers: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    created_by: str
    comment: str

    @classmethod
    def from_alertmanager(cls, told: Mapping[str, Any]) -> "Silence":
        """A Silence of one element of `/api/v2/silences`."""
        return cls(
            id=str(told["id"]),
            state=str(told["status"]["state"]),
            matchers=tuple(_matcher_text(matcher) for matcher in told["matchers"]),
            starts_at=datetime.fromisoformat(told["startsAt"]).astimezone(UTC),
            ends_at=datetime.fromisoformat(told["endsAt"]).astimezone(UTC),
            created_by=str(told.get("createdBy", "")),
            comment=str(told.get("comment", "")),
        )


class Alertmanager:
    """One Alertmanager. Times are aware UTC.

    Every method raises UnreachableError, DeadlineError, RefusedError (with the server's own words) or
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
        """The alerts that it holds now, silenced and inhibited ones too, oldest first.

        Only those of that name and with exactly these labels, where given. Resolved alerts are not held.
        """
        wanted = {**({"alertname": name} if name else {}), **(labels or {})}
        filters = [("filter", _matcher(label, value)) for label, value in wanted.items()]
        told = self._told("/api/v2/alerts", [*_ALL_STATES, *filters])
        try:
            found = [Alert.from_alertmanager(one) for one in told]
        except _SHAPE_ERRORS as error:
            raise self._nonsense(error) from None
        never = datetime.max.replace(tzinfo=UTC)
        return tuple(sorted(found, key=lambda alert: (alert.starts_at or never, alert.fingerprint)))

    def silences(self) -> tuple[Silence, ...]:
        """All silences that it still knows, expired ones too, by when they end, the latest first."""
        told = self._told("/api/v2/silences", [])
        try:
            found = [Silence.from_alertmanager(one) for one in told]
        except _SHAPE_ERRORS as error:
            raise self._nonsense(error) from None
        return tuple(sorted(found, key=lambda silence: (silence.ends_at, silence.id), reverse=True))

    def _told(self, path: str, params: Sequence[tuple[str, str]]) -> list[Any]:
        answer = self._tape.ask(
            "alertmanager",
            {"method": "GET", "path": path, "params": [list(pair) for pair in params]},
            lambda: self._asked(path, params),
            target=self._target,
            deadline_seconds=self._deadline_seconds,
        )
        if not isinstance(answer, list):
            raise self._nonsense(TypeError("a list was expected"))
        return answer

    def _asked(self, path: str, params: Sequence[tuple[str, str]]) -> Any:
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
            told = f"answers {response.status}{': ' if text else ''}{text}"
            raise RefusedError(told, **about, code=str(response.status))
        if response.content_type != "application/json":
            told = f"not Alertmanager: {response.content_type or 'no content type'}"
            raise NonsenseError(told, **about, remedy="check the address")
        return response.json(**about)

    def _nonsense(self, error: Exception) -> NonsenseError:
        told = f"its answer has not the shape of Alertmanager: {str(error)[:200]}"
        return NonsenseError(told, system="alertmanager", target=self._target)


def _matcher(label: str, value: str) -> str:
    if not _LABEL.fullmatch(label):
        raise ParameterError(f"{label!r} is not a label name", remedy="use letters, digits and _")
    return f"{label}={quoted(value)}"


def _matcher_text(told: Mapping[str, Any]) -> str:
    operator = ("=" if told.get("isEqual", True) else "!") + ("~" if told.get("isRegex") else "")
    return f"{told['name']}{'!=' if operator == '!' else operator}{quoted(str(told['value']))}"
