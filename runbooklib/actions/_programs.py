"""Programs of the site, as a list of words: no shell, a deadline, little of our environment."""

import hashlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO

from runbooklib import variables
from runbooklib.errors import ActionError
from runbooklib.scene import Scene
from runbooklib.sources.files import read

SYSTEM = "script"
_LAST_BYTES = 2_000


def files_in(command: Sequence[str]) -> list[str]:
    """The words of a command that are files of this machine: what of it can be exchanged.

    A relative one is meant from the program's folder, where it is run.
    """
    place = Path(command[0]).parent
    named = {place / word for word in command if word.startswith(("/", "./", "../"))}
    return sorted(str(path) for path in named if path.is_file())


def digests(scene: Scene, command: Sequence[str]) -> dict[str, str]:
    """Path -> SHA-256 of each file of the command; its program must be one. Raises ActionError."""
    if not Path(command[0]).is_absolute():
        raise ActionError(
            f"{command[0][:80]!r} is no absolute path of a program",
            system=SYSTEM,
            remedy="write the program's whole path into the environment's file",
        )
    return scene.sources.files.digests(sorted({command[0], *files_in(command)}))


def run(command: Sequence[str], seen: Mapping[str, str], seconds: float) -> str:
    """What the command printed last, redacted by nobody yet. `seen`: path -> SHA-256 as it was approved.

    Raises ActionError where a file is another one, where it fails, and where it is late.
    """
    for path, digest in seen.items():
        if hashlib.sha256(read(Path(path))).hexdigest() != digest:
            raise ActionError("was changed since it was looked at", system=SYSTEM, target=path)
    environment = {name: os.environ[name] for name in variables.PASSED_TO_PROGRAMS if name in os.environ}
    with tempfile.TemporaryFile() as printed:  # a file, so that no flood of it fills our memory
        try:
            process = subprocess.Popen(
                list(command),
                cwd=Path(command[0]).parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise ActionError(f"cannot be run: {error.strerror}", system=SYSTEM, target=command[0]) from None
        with process:
            _wait(process, command[0], seconds)
        told = _last(printed)
    if process.returncode:
        raise ActionError(
            f"ended with {process.returncode}: {_last_line(told)}", system=SYSTEM, target=command[0]
        )
    return told


def _wait(process: "subprocess.Popen[bytes]", name: str, seconds: float) -> None:
    try:
        process.wait(seconds)
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if not isinstance(error, subprocess.TimeoutExpired):
            raise
        raise ActionError(
            f"did not end within {seconds:g} s and was killed",
            system=SYSTEM,
            target=name,
            remedy="see what it had done",
            is_outcome_known=False,
        ) from None


def _last(printed: IO[bytes]) -> str:
    size = printed.seek(0, os.SEEK_END)
    printed.seek(max(size - _LAST_BYTES, 0))
    return printed.read().decode("utf-8", "backslashreplace").strip()


def _last_line(told: str) -> str:
    return told.splitlines()[-1] if told else "it printed nothing"
