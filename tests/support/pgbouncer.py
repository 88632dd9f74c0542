"""A real pgbouncer in front of a PostgreSQL server of the tests, as user postgres where we are root."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tests.support.postgresql import PASSWORDS, Server, free_port
from tests.support.servers import program
from tests.support.supervisor import prefix


@contextmanager
def pgbouncer(server: Server, **settings: object) -> Iterator[int]:
    """The port of a pgbouncer with these settings, until the end of the block."""
    path = os.environ.get("PATH", "")
    os.environ["PATH"] = f"{path}:/usr/sbin"
    try:
        binary = program("pgbouncer")
    finally:
        os.environ["PATH"] = path
    home, port = Path(tempfile.mkdtemp(prefix=prefix("rbb"), dir="/tmp")), free_port()
    known = {
        "listen_addr": "127.0.0.1", "listen_port": port, "unix_socket_dir": "", "auth_type": "scram-sha-256",
        "auth_file": f"{home}/users", **settings,
    }  # fmt: skip
    users = "".join(f'"{user}" "{password}"\n' for user, password in PASSWORDS.items())
    (home / "users").write_text(users)
    lines = "".join(f"{name} = {value}\n" for name, value in known.items())
    databases = f"[databases]\npostgres = host=127.0.0.1 port={server.port}\n"
    (home / "settings").write_text(f"{databases}[pgbouncer]\n{lines}")
    if server.user:
        for place in (home, home / "users", home / "settings"):
            shutil.chown(place, "postgres")
    log = (home / "log").open("wb")
    process = subprocess.Popen(
        [binary, str(home / "settings")], stdout=log, stderr=log, cwd="/", **server.user  # type: ignore[call-overload]
    )  # fmt: skip
    try:
        _wait_for(port, process, home / "log")
        yield port
    finally:
        process.terminate()
        process.wait(10)
        log.close()
        shutil.rmtree(home, ignore_errors=True)


def _wait_for(port: int, process: "subprocess.Popen[bytes]", log: Path) -> None:
    ends = time.monotonic() + 30
    while time.monotonic() < ends and process.poll() is None:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise AssertionError(log.read_text()[-800:])
