"""Run a check and return its finding; call an action and return its proposal.

A source that fails gives an UNKNOWN finding, never an exception: the other checks must still be asked.
"""

import inspect
import math
import re
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from runbooklib.checks.unchanged import with_age
from runbooklib.errors import ParameterError, Reason, RunbookError, SourceError, suggestion
from runbooklib.model.findings import Fact, Finding, Status, unknown
from runbooklib.model.plan import Proposal
from runbooklib.sources.context import Context
from runbooklib.sources.tape import OPENING, Tape
from runbooklib.text import filled

_FACT = re.compile(r"\{([a-z_]+)\}")
Check = Callable[..., Finding]


def ask(check: Check, limits: Mapping[str, Any], context: Context, tape: Tape) -> Finding:
    """Run `check` against `context` and return its finding.

    Raises: ParameterError: `limits` has an unknown name, a missing name or a value that is not finite.
    NotRecordedError: a replay has no recording of a request.
    Not thread-safe per tape: the tape collects the requests and warnings of the check that is running.
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
    finding = with_age(finding, context.window.end)
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
    return _FACT.sub(lambda match: str(limits.get(match[1], match[0])), line)


def _refuse_bad_limits(check: Check, limits: Mapping[str, Any]) -> None:
    # The first parameter is the context.
    known = dict(list(inspect.signature(check).parameters.items())[1:])
    for name in limits:
        if name not in known:
            raise ParameterError(
                f"{check.__name__} has no limit {name!r}.", hint=suggestion(name, sorted(known))
            )
        if isinstance(limits[name], float) and not math.isfinite(limits[name]):
            # No value is above NaN or infinity: every answer would be OK.
            raise ParameterError(
                f"{check.__name__}: the limit {name} is {limits[name]!r}.", hint="Pass a finite number."
            )
    missing = [name for name, item in known.items() if item.default is item.empty and name not in limits]
    if missing:
        raise ParameterError(
            f"{check.__name__} needs the limit {missing[0]}.", hint=f"Pass {missing[0]}=… in the cell."
        )


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


def propose(action: Callable[..., Proposal], parameters: Mapping[str, Any], context: Context) -> Proposal:
    """Call an action's proposal. If a source does not answer, the proposal has no command and says why."""
    try:
        return action(context, **parameters)
    except SourceError as error:
        return no_proposal(action, "Cannot be proposed: {reason}", str(error))


def no_proposal(action: Callable[..., Proposal], template: str, reason: str) -> Proposal:
    """A proposal without a command; `template` has the fact `reason`."""
    title = (action.__doc__ or action.__name__).strip().splitlines()[0]
    return Proposal(title, command="", effect=filled(template, reason=reason))


def expired(finding: Finding) -> Finding:
    """The UNKNOWN finding that stands in for a finding until its check is asked again."""
    return not_asked("Not asked again yet.", finding.check, finding.question)


def not_asked(template: str, check: str, question: str, **facts: Fact) -> Finding:
    """An UNKNOWN finding for a check that was not asked; `template` says why, with `facts`."""
    return unknown(Reason.NOT_ASKED, template, facts=facts, check=check, question=question)
