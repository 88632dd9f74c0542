"""What may be done next: a proposal for a person, and behind it the plan that can be approved.

A plan is data. Its digest binds an approval to all that was seen when it was made: which action with which
parameters, on which target, and by what that target can be told from one that has taken its place.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_DIGEST = re.compile(r"[0-9a-f]{64}")
_FINGERPRINT_DIGITS = 12


@dataclass(frozen=True, slots=True)
class Plan:
    """One action on one target, as it was seen. All of it is JSON.

    `action` is the name of the function that proposed it, `target` what a person types to approve it;
    `identity` is what tells the target from any other: a container's id and when it started, a session's pid
    and when it began, a script's SHA-256. `seen_at` (ISO 8601) is when it was looked at: what was tried once
    and is proposed anew is another plan.
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
        plain = json.dumps(self.as_dict(), sort_keys=True, ensure_ascii=True, separators=(",", ":"))
        return hashlib.sha256(plain.encode()).hexdigest()

    @property
    def fingerprint(self) -> str:
        """The beginning of the digest: what a person compares, and gives with `--yes`."""
        return self.digest[:_FINGERPRINT_DIGITS]

    def as_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {name: _plain(getattr(self, name)) for name in self.__slots__}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> "Plan":
        """The reverse of `as_dict`. Raises ValueError for what is no plan."""
        try:
            given = {name: told[name] for name in cls.__slots__}
        except (KeyError, TypeError) as error:
            raise ValueError(f"it is no plan: {error}") from None
        texts = ("action", "alert", "service", "environment", "target", "seen_at")
        if not all(isinstance(given[name], str) for name in texts):
            raise ValueError("it is no plan: its names must be texts")
        if not all(isinstance(given[name], dict) for name in ("parameters", "identity")):
            raise ValueError("it is no plan: parameters and identity must be mappings")
        return cls(**given)


@dataclass(frozen=True, slots=True)
class Proposal:
    """Something a person may do next: what, the command, what it changes and what it loses.

    `undo` says how it is taken back. With a `plan`, `runbook approve` can do it; `blocked` says why there is
    none where there could be one.
    """

    title: str
    command: str
    effect: str
    loses: str = ""
    undo: str = ""
    plan: Plan | None = None
    blocked: str = ""


def is_digest(text: object) -> bool:
    """Whether this is a SHA-256 as we write it."""
    return isinstance(text, str) and _DIGEST.fullmatch(text) is not None


def _plain(value: Any) -> Any:
    """As JSON, with one spelling of a number: JupyterLab saves 2.0 as 2, and it is the same plan."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    return [_plain(one) for one in value] if isinstance(value, list | tuple) else value
