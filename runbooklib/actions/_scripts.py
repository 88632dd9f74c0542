"""Scripts of the site, run as a list of words: no shell, a deadline, a minimal environment."""

import hashlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from runbooklib.config import variables
from runbooklib.errors import ActionError
from runbooklib.sources.context import Context
from runbooklib.sources.site_files import read

SYSTEM = "script"
_MAX_OUTPUT_BYTES = 2_000


def files_in(command: Sequence[str]) -> list[str]:
    """The words of a command that are files on this machine, which somebody could replace.

    A relative path starts in the program's folder, where the command runs.
    """
    folder = Path(command[0]).parent
    paths = {folder / word for word in command if word.startswith(("/", "./", "../"))}
    return sorted(str(path) for path in paths if path.is_file())


def digests(context: Context, command: Sequence[str]) -> dict[str, str]:
    """Path -> SHA-256 of each file of the command, its program included. Raises ActionError."""
    if not Path(command[0]).is_absolute():
        raise ActionError(
            f"{command[0][:80]!r} is not an absolute path",
            system=SYSTEM,
            hint="write the program's whole path into the environment's file",
        )
    return context.sources.files.digests(sorted({command[0], *files_in(command)}))


def run(command: Sequence[str], approved: Mapping[str, str], timeout_seconds: float) -> str:
    """Run the command and return the end of its output, not redacted. `approved`: path -> SHA-256.

    Raises ActionError if a file has changed, the command fails, or the timeout passes.
    """
    for path, digest in approved.items():
        if hashlib.sha256(read(Path(path))).hexdigest() != digest:
            raise ActionError("has changed since the action was proposed", system=SYSTEM, target=path)
    environment = {name: os.environ[name] for name in variables.PASSED_TO_PROGRAMS if name in os.environ}
    with tempfile.TemporaryFile() as output:  # a file, so that a flood of output does not fill memory
        try:
            process = subprocess.Popen(
                list(command),
                cwd=Path(command[0]).parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ActionError(f"cannot be run: {error.strerror}", system=SYSTEM, target=command[0]) from None
        with process:
            _wait(process, command[0], timeout_seconds)
        text = _end_of(output)
    if process.returncode:
        last_line = (text.splitlines() or ["(no output)"])[-1]
        raise ActionError(f"ended with {process.returncode}: {last_line}", system=SYSTEM, target=command[0])
    return text


def _wait(process: "subprocess.Popen[bytes]", name: str, timeout_seconds: float) -> None:
    """Wait for the process; kill its group at the timeout and on any interrupt."""
    try:
        process.wait(timeout_seconds)
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise ActionError(
            f"did not end within {timeout_seconds:g} s and was killed",
            system=SYSTEM,
            target=name,
            hint="see what it has changed",
            is_outcome_known=False,
        ) from None


def _end_of(output: IO[bytes]) -> str:
    size = output.seek(0, os.SEEK_END)
    output.seek(max(size - _MAX_OUTPUT_BYTES, 0))
    return output.read().decode("utf-8", "backslashreplace").strip()
