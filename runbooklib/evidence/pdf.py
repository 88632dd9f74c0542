"""Prints the sealed page to PDF with an installed Chromium.

The browser runs with a temporary profile, an environment without our secrets, no network and a time limit.
The page's own content security policy forbids scripts. JavaScript itself stays enabled in Chromium, because
headless Chromium cannot print without it.
"""

import os
import shutil
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path

from runbooklib.config import variables
from runbooklib.errors import EvidenceError, InputError
from runbooklib.files import write_new

FILE = "notebook.pdf"
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
SECONDS = 60.0
_OPTIONS = (
    "--headless",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-component-update",
    "--disable-background-networking",
    "--disable-default-apps",
    "--metrics-recording-only",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-pdf-header-footer",  # header and footer would show a path of this machine
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=socks5://127.0.0.1:9",
    "--proxy-bypass-list=<-loopback>",
)


def chromium() -> str:
    """The path of the Chromium program. Raises InputError if none is installed."""
    program = next((path for path in map(shutil.which, PROGRAMS) if path), None)
    if program is None:
        raise InputError(
            f"--pdf needs a Chromium, and there is no {', '.join(PROGRAMS)} on the PATH",
            hint="install one, or leave --pdf out: notebook.html can be printed from any browser",
        )
    return program


def print_page(program: str, page: Path, file: Path, *, within_seconds: float = SECONDS) -> None:
    """Print the HTML page to the file, which is synced and which only its owner can read.

    Raises EvidenceError; then there is no file.
    """
    with tempfile.TemporaryDirectory(prefix="runbook-", ignore_cleanup_errors=True) as folder:
        root = ("--no-sandbox",) if os.geteuid() == 0 else ()
        # The browser reads and writes copies: only this process opens files in the bundle's folder.
        copy, printed = Path(folder) / "page.html", Path(folder) / "page.pdf"
        shutil.copyfile(page, copy)
        paths = (f"--user-data-dir={folder}/profile", f"--print-to-pdf={printed}")
        reason = _run([program, *_OPTIONS, *root, *paths, copy.as_uri()], folder, within_seconds)
        if not reason and not _is_whole(printed):
            reason = "Chromium did not write a complete PDF"
        if reason:
            raise EvidenceError(
                f"{FILE} was not printed: {reason}", hint="print notebook.html from a browser"
            )
        file.unlink(missing_ok=True)
        write_new(file, printed.read_bytes())


def _run(argv: list[str], folder: str, seconds: float) -> str:
    """Run the browser, then kill all its processes; return why it failed, or an empty text."""
    environment = {
        variables.PATH: os.environ.get(variables.PATH, os.defpath),
        "HOME": folder,
        "LANG": "C.UTF-8",
    }
    try:
        process = subprocess.Popen(
            argv,
            env=environment,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
    except OSError as error:
        return f"Chromium did not start: {error.strerror}"
    try:
        code = process.wait(seconds)
    except subprocess.TimeoutExpired:
        return f"Chromium did not end within {seconds:g} s"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return f"Chromium ended with {code}" if code else ""


def _is_whole(file: Path) -> bool:
    if not file.is_file():
        return False
    content = file.read_bytes()
    return content.startswith(b"%PDF-") and content.rstrip().endswith(b"%%EOF")
