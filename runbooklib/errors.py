"""Every error that this library raises on purpose, in one tree.

RunbookError                     what failed (system, target) and what to do (hint)
├── InputError                   refused before anything was asked; exit code 3
│   ├── UnknownAlertError        no runbook of that name
│   ├── ParameterError           unknown name, wrong type, or a value that cannot be meant
│   ├── SettingsError            parameters/ or the environment cannot be read
│   └── MissingSecretError       an environment variable that a setting names is not set
├── SourceError                  a system gave no usable answer; carries the Reason of the UNKNOWN
│   ├── UnreachableError         no connection
│   ├── DeadlineError            no whole answer within the deadline
│   ├── RefusedError             the system answered, and said no
│   ├── NonsenseError            the system answered something that it should not
│   ├── NoDataError              the system answered, and the answer was empty
│   ├── StaleError               the system speaks of another time than the one asked about
│   └── NotConfiguredError       the environment does not name this system
├── NotRecordedError             a replay was asked something that nobody asked when it was recorded
├── EvidenceError                the run, or its evidence, failed; exit code 4
└── ActionError                  an action was refused or failed; exit code 5
"""

import difflib
from collections.abc import Sequence
from enum import StrEnum


class Reason(StrEnum):
    """Why a question has no answer. An UNKNOWN finding always carries one."""

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
    """An error that says what failed, where, and what to do about it.

    `system` is the kind of system ("prometheus"), `target` which one, without credentials
    ("http://prometheus:9090"), `hint` the next step for the reader.
    """

    def __init__(self, message: str, *, system: str = "", target: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.system = system
        self.target = target
        self.hint = hint

    def __str__(self) -> str:
        """One line: system and target, what happened, what to do."""
        where = f"{self.system} at {self.target}" if self.target else self.system
        text = f"{where}: {self.message}" if where else self.message
        if not self.hint:
            return text
        return f"{text} {self.hint}" if text.endswith((".", "!", "?")) else f"{text} ({self.hint})"

    def _render_traceback_(self) -> list[str]:
        """What IPython shows instead of a traceback: at 3am the sentence helps, and the stack does not."""
        return [f"{type(self).__name__}: {self}"]


class InputError(RunbookError):
    """What the caller gave cannot be used; nothing was asked of any system."""


class UnknownAlertError(InputError):
    """There is no runbook of that name."""


class ParameterError(InputError):
    """A parameter is unknown, has the wrong type or a value that cannot be meant."""


class SettingsError(InputError):
    """A file under parameters/ cannot be read or does not hold what it must."""


class MissingSecretError(InputError):
    """A setting names an environment variable that is not set."""


class SourceError(RunbookError):
    """A system gave no usable answer. `reason` becomes the reason of the UNKNOWN finding."""

    reason: Reason = Reason.NONSENSE


class UnreachableError(SourceError):
    """There is no connection to the system."""

    reason = Reason.UNREACHABLE


class DeadlineError(SourceError):
    """The whole answer was not there when the deadline had passed."""

    reason = Reason.TIMED_OUT


class RefusedError(SourceError):
    """The system answered and said no; `code` is its own word for why (HTTP status, SQLSTATE)."""

    reason = Reason.REFUSED

    def __init__(
        self, message: str, *, system: str = "", target: str = "", hint: str = "", code: str = ""
    ) -> None:
        super().__init__(message, system=system, target=target, hint=hint)
        self.code = code


class NonsenseError(SourceError):
    """The system answered something that such a system does not answer."""

    reason = Reason.NONSENSE


class NoDataError(SourceError):
    """The system answered, and there was nothing in it. A missing series is not zero."""

    reason = Reason.NO_DATA


class StaleError(SourceError):
    """The system can only speak of another time than the one that was asked about."""

    reason = Reason.STALE


class NotConfiguredError(SourceError):
    """The environment's file does not name this system."""

    reason = Reason.NOT_CONFIGURED


class NotRecordedError(RunbookError):
    """A replay was asked a question that was never recorded."""


class EvidenceError(RunbookError):
    """The run itself, or the writing of its evidence, failed."""


class ActionError(RunbookError):
    """An action was refused or failed.

    Not `is_outcome_known`: it was asked for, and nobody heard whether it was done.
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
    """The known name that is most similar to `given`; empty where none is similar."""
    return next(iter(difflib.get_close_matches(given, known, n=1, cutoff=0.5)), "")


def suggestion(given: str, known: Sequence[str]) -> str:
    """A hint for an unknown name: the nearest known name as a question, or else all known names."""
    if near := nearest(given, known):
        return f"did you mean {near!r}?"
    return f"there are: {', '.join(known)}" if known else "there are none"
