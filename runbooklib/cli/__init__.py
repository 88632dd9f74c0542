"""The command line: `runbook run HighErrorRate --environment lab`.

Exit codes: 0 OK, 1 a problem exists (or evidence was changed), 2 UNKNOWN, 3 bad input (before a kernel
starts), 4 the run or its evidence failed, 5 an action failed or was refused, 128+n ended by signal n.
"""

import signal
import sys
from types import FrameType
from typing import Any

import typer

from runbooklib import files
from runbooklib.cli import actions, authoring, batch, evidence, jupyter, lint, recovery, run, upload
from runbooklib.cli.app import ACTION_FAILED, BAD_INPUT, RUN_FAILED, app, one_line
from runbooklib.cli.commands import usage_error
from runbooklib.errors import ActionError, InputError, RunbookError

__all__ = [
    "actions",
    "app",
    "authoring",
    "batch",
    "evidence",
    "jupyter",
    "lint",
    "main",
    "recovery",
    "run",
    "upload",
]

# Some versions of Typer contain a copy of click, others use click itself. This is the class in both.
_UsageError: Any = typer.BadParameter.__base__


def _on_signal(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line. An error is printed as one line with what to do about it."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _on_signal)
    try:
        sys.exit(app(standalone_mode=False))
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(128 + signal.SIGINT)
    except _UsageError as error:
        _fail(usage_error(error), BAD_INPUT)
    except RunbookError as error:
        _fail(str(error), _exit_code(error))
    except OSError as error:
        # An error that no code expected, for example evidence of another user: the system's own message.
        _fail(files.trouble(error), RUN_FAILED)


def _fail(message: str, code: int) -> None:
    print(f"runbook: {one_line(message)}", file=sys.stderr)
    sys.exit(code)


def _exit_code(error: RunbookError) -> int:
    if isinstance(error, InputError):
        return BAD_INPUT
    return ACTION_FAILED if isinstance(error, ActionError) else RUN_FAILED
