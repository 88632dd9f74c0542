"""The command line: `runbook run HighErrorRate --environment lab`.

Exit codes: 0 OK, 1 a problem exists (or evidence was changed), 2 UNKNOWN, 3 bad input (before a kernel
starts), 4 the run or its evidence failed, 5 an action failed or was refused, 128+n ended by signal n.
"""

import signal
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

import typer

from runbooklib import files
from runbooklib.cli import actions, authoring, batch, evidence, jupyter, lint, recovery, run, upload
from runbooklib.cli.app import ACTION_FAILED, BAD_INPUT, RUN_FAILED, app, one_line
from runbooklib.cli.commands import usage_error
from runbooklib.errors import ActionError, InputError, MissingSecretError, RunbookError

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

REPORT_DEFECT = "Report this line to the maintainers of runbooklib: see CONTRIBUTING.md, “Report a defect”"
_PACKAGE = str(Path(__file__).parents[1])
# Some versions of Typer contain a copy of click, others use click itself. This is the class in both.
_UsageError: Any = typer.BadParameter.__base__


def _on_signal(number: int, _: FrameType | None) -> None:
    raise SystemExit(128 + number)


def main() -> None:
    """Run the command line. An error is printed as one line with what to do about it.

    An error that no code expected is a defect of ours: it ends with 4 (RUN_FAILED) and never with 1.
    """
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
    except Exception as error:  # noqa: BLE001 - Python itself would end with 1: "a problem was found"
        _fail(_defect(error), RUN_FAILED)


def _defect(error: Exception) -> str:
    """The line for an error that is a defect of this library: what, where, and where to report it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if frame.filename.startswith(_PACKAGE)]
    places = [f"{Path(frame.filename).name}:{frame.lineno}" for frame in (*ours[-1:], *frames[-1:])]
    where = ", ".join(dict.fromkeys(places))
    text = f"{type(error).__name__}: {error}".rstrip(": ")
    return f"defect of runbooklib: {text} ({where}). {REPORT_DEFECT}"


def _fail(message: str, code: int) -> None:
    print(f"runbook: {one_line(message)}", file=sys.stderr)
    sys.exit(code)


def _exit_code(error: RunbookError) -> int:
    if isinstance(error, InputError | MissingSecretError):
        return BAD_INPUT
    return ACTION_FAILED if isinstance(error, ActionError) else RUN_FAILED
