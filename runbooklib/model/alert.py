"""One alert of Alertmanager (API v2 and webhook payload version 4)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from runbooklib.errors import NonsenseError

# Go's zero time: Alertmanager sends it for a missing time.
_ZERO_TIME = "0001-01-01"


@dataclass(frozen=True, slots=True)
class Alert:
    """Labels, annotations and times (aware UTC) of one alert; `state` is active or suppressed."""

    name: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    starts_at: datetime | None
    ends_at: datetime | None
    state: str
    fingerprint: str
    silenced_by: tuple[str, ...] = field(default=())
    inhibited_by: tuple[str, ...] = field(default=())

    @classmethod
    def from_alertmanager(cls, fields: Mapping[str, Any]) -> "Alert":
        """An Alert from one element of `/api/v2/alerts` or of a webhook's `alerts`. Raises NonsenseError."""
        status = fields.get("status")
        suppressed = {} if isinstance(status, str) else _require_mapping(status, "status")
        state = status if isinstance(status, str) else str(suppressed.get("state", ""))
        labels = _text_mapping(fields.get("labels"), "labels")
        return cls(
            name=labels.get("alertname", ""),
            labels=labels,
            annotations=_text_mapping(fields.get("annotations"), "annotations"),
            starts_at=_parse_time(fields.get("startsAt")),
            ends_at=_parse_time(fields.get("endsAt")),
            state=state,
            fingerprint=str(fields.get("fingerprint", "")),
            silenced_by=tuple(suppressed.get("silencedBy") or ()),
            inhibited_by=tuple(suppressed.get("inhibitedBy") or ()),
        )


def _require_mapping(value: object, name: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping | None):
        raise NonsenseError(f"the alert's {name} is a {type(value).__name__}", system="alertmanager")
    return value or {}


def _text_mapping(value: object, name: str) -> dict[str, str]:
    return {str(key): str(text) for key, text in _require_mapping(value, name).items()}


def _parse_time(text: object) -> datetime | None:
    if not isinstance(text, str) or not text or text.startswith(_ZERO_TIME):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise NonsenseError(
            f"the alert has {text[:40]!r} instead of a timestamp", system="alertmanager"
        ) from None
