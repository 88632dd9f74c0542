"""All errors that this library raises on purpose, in one tree.

RunbookError                     what failed (system, target) and what to do (hint)
├── InputError                   invalid input, refused before any request is sent; exit code 3
│   ├── UnknownAlertError        no runbook has this name
│   ├── ParameterError           unknown name, wrong type or invalid value
│   └── SettingsError            parameters/ or the environment cannot be read
├── SourceError                  a system gave no usable answer; has the Reason of the UNKNOWN finding
│   ├── UnreachableError         no connection
│   ├── DeadlineError            no whole answer within the deadline
│   ├── RefusedError             the system refused the request
│   ├── NonsenseError            the answer is invalid
│   ├── NoDataError              the answer is empty
│   ├── StaleError               the answer is about another time than the requested time
│   └── NotConfiguredError       the environment does not name this system, or its settings are wrong
│       └── MissingSecretError   an environment variable that a setting names is not set
├── NotRecordedError             a replay needs an answer that is not in the recording
├── EvidenceError                the run failed, or its evidence cannot be written or read; exit code 4
└── ActionError                  an action was refused or failed; exit code 5
"""

import difflib
from collections.abc import Sequence
from enum import StrEnum


class Reason(StrEnum):
    """Why a check has no answer. Every UNKNOWN finding has a reason."""

    UNREACHABLE = "unreachable"
    TIMED_OUT = "timed out"
    REFUSED = "refused"
    NONSENSE = "answered nonsense"
    NO_DATA = "no data"
    THIN_TRAFFIC = "too little traffic"
    STALE = "stale"
    PARTIAL = "partial answer"
    NOT_CONFIGURED = "not configured"
    NOT_ASKED = "not asked again"


class RunbookError(Exception):
    """An error with a message, the system that failed, and a hint.

    `system` is the kind of system ("prometheus"), `target` its address without credentials
    ("http://prometheus:9090"), `hint` the next step for the reader.
    """

    def __init__(self, message: str, *, system: str = "", target: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.system = system
        self.target = target
        self.hint = hint

    def __str__(self) -> str:
        """One line: system and target, message, hint."""
        where = f"{self.system} at {self.target}" if self.target else self.system
        text = f"{where}: {self.message}" if where else self.message
        if not self.hint:
            return text
        return f"{text} {self.hint}" if text.endswith((".", "!", "?")) else f"{text} ({self.hint})"

    def _render_traceback_(self) -> list[str]:
        """The text that IPython shows instead of a traceback, which does not help an operator."""
        return [f"{type(self).__name__}: {self}"]


class InputError(RunbookError):
    """The input is invalid. No request was sent to any system."""


class UnknownAlertError(InputError):
    """No runbook has this name."""


class ParameterError(InputError):
    """A parameter has an unknown name, a wrong type or an invalid value."""


class SettingsError(InputError):
    """A file under parameters/ cannot be read, or its content is invalid."""


class SourceError(RunbookError):
    """A system gave no usable answer. The UNKNOWN finding gets its `reason`."""

    reason: Reason = Reason.NONSENSE


class UnreachableError(SourceError):
    """There is no connection to the system; `code` says why, if it is known (the name of an errno).

    UNRESOLVED: the resolver of this machine does not know the name of the system.
    """

    reason = Reason.UNREACHABLE
    UNRESOLVED = "EAI_NONAME"

    def __init__(
        self, message: str, *, system: str = "", target: str = "", hint: str = "", code: str = ""
    ) -> None:
        super().__init__(message, system=system, target=target, hint=hint)
        self.code = code


class DeadlineError(SourceError):
    """The answer was not complete at the deadline."""

    reason = Reason.TIMED_OUT


class RefusedError(SourceError):
    """The system refused the request; `code` is its own code for the reason (HTTP status, SQLSTATE)."""

    reason = Reason.REFUSED

    def __init__(
        self, message: str, *, system: str = "", target: str = "", hint: str = "", code: str = ""
    ) -> None:
        super().__init__(message, system=system, target=target, hint=hint)
        self.code = code


class NonsenseError(SourceError):
    """The answer is invalid for this kind of system."""

    reason = Reason.NONSENSE


class NoDataError(SourceError):
    """The answer is empty. A missing series is not zero."""

    reason = Reason.NO_DATA


class StaleError(SourceError):
    """The answer is about another time than the requested time."""

    reason = Reason.STALE


class NotConfiguredError(SourceError):
    """The environment's file does not name this system, or its settings for it are wrong."""

    reason = Reason.NOT_CONFIGURED


class MissingSecretError(NotConfiguredError):
    """A setting names an environment variable that is not set."""


class NotRecordedError(RunbookError):
    """A replay needs an answer that is not in the recording."""


class EvidenceError(RunbookError):
    """The run failed, or its evidence cannot be written or read."""


class ActionError(RunbookError):
    """An action was refused or failed.

    If `is_outcome_known` is False, the request was sent, but its result is unknown.
    """

    def __init__(
        self,
        message: str,
        *,
        system: str = "",
        target: str = "",
        hint: str = "",
        is_outcome_known: bool = True,
    ) -> None:
        super().__init__(message, system=system, target=target, hint=hint)
        self.is_outcome_known = is_outcome_known


def nearest(given: str, known: Sequence[str]) -> str:
    """The known name that is most similar to `given`; empty if no name is similar."""
    return next(iter(difflib.get_close_matches(given, known, n=1, cutoff=0.5)), "")


def suggestion(given: str, known: Sequence[str]) -> str:
    """A hint for an unknown name: the nearest known name as a question, or else all known names."""
    if near := nearest(given, known):
        return f"did you mean {near!r}?"
    return f"there are: {', '.join(known)}" if known else "there are none"
