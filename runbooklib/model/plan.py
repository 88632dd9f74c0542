"""What a person may do next: a proposal, and the plan behind it that can be approved.

A plan is data. Its digest binds an approval to what was seen: the action and its parameters, the target, and
the facts that distinguish the target from a replacement.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT_DIGITS = 12
_TEXT_FIELDS = ("action", "alert", "service", "environment", "target", "seen_at")
_MAPPING_FIELDS = ("parameters", "identity")


@dataclass(frozen=True, slots=True)
class Plan:
    """One action on one target, as the target was seen. All fields are JSON.

    `action` is the name of the function that proposed it; `target` is what a person types to approve it.
    `identity` distinguishes the target from any other: a container's id and start time, a session's pid and
    start time, a script's SHA-256. `seen_at` (ISO 8601) is when the target was read: a second proposal of the
    same action is another plan.
    """

    action: str
    parameters: Mapping[str, Any]
    alert: str
    service: str
    environment: str
    target: str
    identity: Mapping[str, Any] = field(default_factory=dict)
    seen_at: str = ""

    @property
    def digest(self) -> str:
        """SHA-256 of the plan, 64 hexadecimal digits."""
        content = json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(content.encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """The first 12 digits of the digest: a person compares them, and passes them to `--yes`."""
        return self.digest[:_FINGERPRINT_DIGITS]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: _normalize(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "Plan":
        """The reverse of `as_dict`. Raises ValueError if a field is missing or has a wrong type."""
        try:
            values = {name: fields[name] for name in cls.__slots__}
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a plan: {error}") from None
        if not all(isinstance(values[name], str) for name in _TEXT_FIELDS):
            raise ValueError(f"not a plan: {', '.join(_TEXT_FIELDS)} must be text")
        if not all(isinstance(values[name], dict) for name in _MAPPING_FIELDS):
            raise ValueError(f"not a plan: {', '.join(_MAPPING_FIELDS)} must be mappings")
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Something that a person may do next: the command, what it changes and what is lost.

    `undo` says how to reverse it. With a `plan`, `runbook approve` can perform it; if the site allows the
    action and there is still no plan, `blocked` is the reason.
    """

    title: str
    command: str
    effect: str
    loses: str = ""
    undo: str = ""
    plan: Plan | None = None
    blocked: str = ""


def is_digest(text: object) -> bool:
    """Whether this is a SHA-256 in the form that `Plan.digest` has."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def _normalize(value: Any) -> Any:
    """The value as JSON, with one spelling of a number: JupyterLab saves 2.0 as 2."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(name): _normalize(item) for name, item in value.items()}
    return [_normalize(item) for item in value] if isinstance(value, list | tuple) else value
