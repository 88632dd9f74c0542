"""What the rows of the matrix count: steps lost, false OKs, canaries leaked, processes left behind."""

import os
import signal
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path

from runbooklib.redact.redactor import encodings

COUNTS = ("lost steps", "false OK", "canaries leaked", "processes left")
MARK_VARIABLE = "RUNBOOK_SURVEY"
_DYING_SECONDS = 30.0


class Survey:
    """The counters of one test. Each method counts, tells the report, and fails the test where it must be 0.

    `environment` goes to every process that the test starts: what inherits it can be found afterwards.
    """

    def __init__(self, record: Callable[[str, object], None]) -> None:
        self._record = record
        self.mark = uuid.uuid4().hex
        self.environment = {MARK_VARIABLE: self.mark}

    def kept(self, finished: Iterable[str], steps_in_evidence: Iterable[str]) -> None:
        """Every step that had finished is in the evidence, as it was."""
        expected, there = list(finished), set(steps_in_evidence)
        lost = [step for step in expected if step not in there]
        self._tell("lost steps", len(lost), len(expected))
        assert not lost, f"lost: {lost}"

    def never_ok(self, statuses: Iterable[object]) -> None:
        """None of these (statuses, or the names of statuses) is OK. Without any there was no test."""
        status_names = [str(getattr(status, "name", status)).upper() for status in statuses]
        assert status_names, "nothing was judged"
        self._tell("false OK", status_names.count("OK"), len(status_names))
        assert "OK" not in status_names, status_names

    def no_canary(self, places: Mapping[str, bytes | str], *canaries: str) -> None:
        """None of the canaries is in any of the places (name -> content), in any encoding."""
        assert places, "nowhere was looked"
        assert canaries, "nothing was looked for"
        leaks = [
            f"{name}: {form[:12]}…"
            for name, content in places.items()
            for canary in canaries
            for form in encodings(canary)
            if form.encode("utf-8", "surrogatepass") in _bytes(content)
        ]
        self._tell("canaries leaked", len(leaks), len(places) * len(canaries))
        assert not leaks, leaks

    def nothing_left(self) -> None:
        """No process that a run of this test started is there any more. Those that are, are killed."""
        ends = time.monotonic() + _DYING_SECONDS
        while (left := marked(self.mark)) and time.monotonic() < ends:
            time.sleep(0.05)
        for pid in left:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._tell("processes left", len(left), 1)
        assert not left, [_command_line(pid) for pid in left]

    def _tell(self, name: str, count: int, of: int) -> None:
        self._record(name, (count, of))


def marked(mark: str) -> list[int]:
    """The processes whose environment holds the mark, but for those that have ended."""
    pids = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            with suppress(OSError):
                state = (folder / "stat").read_text().rpartition(")")[2].split()[0]
                if state != "Z" and f"{MARK_VARIABLE}={mark}".encode() in (folder / "environ").read_bytes():
                    pids.append(int(folder.name))
    return pids


def folder_content(*folders: Path) -> dict[str, bytes]:
    """Every file under the folders, by name."""
    files = [path for folder in folders for path in folder.rglob("*")]
    return {str(path): path.read_bytes() for path in files if path.is_file()}


def _bytes(content: bytes | str) -> bytes:
    return content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")


def _command_line(pid: int) -> str:
    with suppress(OSError):
        return f"{pid}: " + Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(
            errors="replace"
        )
    return str(pid)
