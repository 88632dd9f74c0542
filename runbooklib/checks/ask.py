"""A check asked of a context: its finding, whatever the systems do.

A system that does not answer becomes an UNKNOWN finding and never an exception: one dead source must not take
the other questions with it.

Checks and actions asked of a context; and what stands for them where nobody asks them any more.
"""

import inspect
import math
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runbooklib.errors import ParameterError, Reason, RunbookError, SourceError, suggestion
from runbooklib.model.findings import Finding, Status, unknown
from runbooklib.model.plan import Proposal
from runbooklib.sources.context import Context
from runbooklib.sources.tape import OPENING, Tape

_FACT = re.compile(r"\{([a-z_]+)\}")
Check = Callable[..., Finding]


def answered(check: Check, limits: Mapping[str, Any], context: Context, tape: Tape) -> Finding:
    """What was found. Raises ParameterError for a bad limit, and NotRecordedError in a replay.

    One check at a time may be asked over a tape: what it used and was warned of is told by it.
    """
    _refuse_bad_limits(check, limits)
    tape.take_used()
    tape.take_remarks()
    try:
        finding = check(context, **limits)
    except SourceError as error:
        finding = _unknown(error)
    except RunbookError:
        raise
    except Exception as error:  # noqa: BLE001 - a check that fails must not take the others with it
        finding = _failed(error)
    used, warnings = tape.take_used(), tape.take_remarks()
    if warnings:
        finding = _with_warnings(finding, warnings)
    asked = [entry.asked_at for entry in used if entry.source != OPENING]
    return replace(
        finding,
        check=check.__name__,
        question=question_of(check, limits),
        asked_at=max(asked, default=finding.asked_at),
        since=finding.since if finding.status >= Status.WARNING else None,
        is_replayable=not any(entry.is_cut for entry in used),
    )


def question_of(check: Check, limits: Mapping[str, Any]) -> str:
    """The first line of the check's docstring, with the limits that it names filled in."""
    line = (check.__doc__ or check.__name__).strip().splitlines()[0]
    return _FACT.sub(lambda found: str(limits.get(found[1], found[0])), line)


def _refuse_bad_limits(check: Check, limits: Mapping[str, Any]) -> None:
    # The first parameter is the context.
    known = dict(list(inspect.signature(check).parameters.items())[1:])
    for name in limits:
        if name not in known:
            raise ParameterError(
                f"{check.__name__} has no limit {name!r}", hint=suggestion(name, sorted(known))
            )
        if isinstance(limits[name], float) and not math.isfinite(limits[name]):
            # Nothing is beyond a limit that is no number: everything would be OK.
            raise ParameterError(f"{check.__name__}: {name} is {limits[name]!r}", hint="give a number")
    missing = [name for name, one in known.items() if one.default is one.empty and name not in limits]
    if missing:
        raise ParameterError(f"{check.__name__} needs {missing[0]}=…", hint="give it in the cell")


def _unknown(error: SourceError) -> Finding:
    return unknown(
        error.reason,
        "{system} at {target}: {message}" if error.target else "{system}: {message}",
        facts={
            "system": error.system,
            "target": error.target,
            "message": error.message,
            "hint": error.hint,
        },
        source=error.system,
    )


def _with_warnings(finding: Finding, warnings: Sequence[str]) -> Finding:
    """Add the system's warnings. A finding cannot be OK if the system warns about its own answer."""
    is_ok = finding.status is Status.OK
    return replace(
        finding,
        status=Status.UNKNOWN if is_ok else finding.status,
        reason=Reason.PARTIAL if is_ok else finding.reason,
        further_templates=(*finding.further_templates, "The system warned: “{warnings}”"),
        facts={**finding.facts, "warnings": "; ".join(warnings)},
    )


def _failed(error: Exception) -> Finding:
    last = traceback.extract_tb(error.__traceback__)[-1]
    return unknown(
        Reason.NONSENSE,
        "The check itself failed, which is a defect of the runbook: {error} ({file}:{line})",
        facts={
            "error": f"{type(error).__name__}: {error}",
            "file": Path(last.filename).name,
            "line": last.lineno or 0,
        },
        source="runbooklib",
    )


Propose = Callable[..., Proposal]


class Inquiry:
    """Asks over a tape.

    `given_up` says why nothing is asked any more: then every answer is UNKNOWN, and says so. Empty: all is.
    """

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        self.given_up = ""

    def answer(self, check: Check, limits: Mapping[str, Any], context: Context) -> Finding:
        """What the check finds. Raises ParameterError for a bad limit, and NotRecordedError in a replay."""
        if self.given_up:
            return _not_asked(self.given_up, check.__name__, question_of(check, limits))
        return answered(check, limits, context, self._tape)

    def propose(self, action: Propose, parameters: Mapping[str, Any], context: Context) -> Proposal:
        """The hint; one that cannot be proposed has no command, and says why."""
        title = (action.__doc__ or action.__name__).strip().splitlines()[0]
        if self.given_up:
            return Proposal(title, command="", effect=f"Not proposed again: {self.given_up}")
        try:
            return action(context, **parameters)
        except SourceError as error:
            return Proposal(title, command="", effect=f"Cannot be proposed: {error}")


def lapsed(former: Finding) -> Finding:
    """What stands for a finding that is to be asked again, until it is."""
    return _not_asked("its turn has not come, or its cell was not run", former.check, former.question)


def _not_asked(why: str, check: str, question: str) -> Finding:
    facts = {"why": why}
    return unknown(Reason.NOT_ASKED, "{why}", facts=facts, check=check, question=question)
