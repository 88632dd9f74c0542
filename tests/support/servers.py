"""Real servers for the tests: started in a folder of their own, stopped by pid."""

import os
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def program(name: str) -> str:
    """Where the server's program is; without it a test fails in CI and is skipped elsewhere."""
    program = shutil.which(name)
    if program:
        return program
    reason = f"{name} is not installed: apt-get install {name}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def page(url: str) -> str:
    """The page, or nothing."""
    try:
        with urllib.request.urlopen(url, timeout=1) as answer:
            return str(answer.read().decode())
    except (OSError, urllib.error.URLError):
        return ""


@contextmanager
def running(argv: list[str], folder: Path, is_ready: Callable[[], bool]) -> Iterator[None]:
    """The server, ready; gone afterwards."""
    log = folder / "server.log"
    with log.open("wb") as sink:
        server = subprocess.Popen(argv, cwd=folder, stdout=sink, stderr=sink, start_new_session=True)
    try:
        ends_at = time.monotonic() + 90
        while not is_ready():
            if server.poll() is not None or time.monotonic() > ends_at:
                pytest.fail(f"{argv[0]} did not start:\n{log.read_text()[-2000:]}")
            time.sleep(0.05)
        yield
    finally:
        server.send_signal(signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait(5)


def certificate(folder: Path) -> Path:
    """A certificate for localhost and 127.0.0.1 that vouches for itself, with its key, in one file."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    argv = [program("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30"]
    argv += ["-subj", "/CN=localhost", "-addext", names, "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(argv, check=True, capture_output=True)
    both = folder / "both.pem"
    both.write_text(certificate.read_text() + key.read_text())
    return both
