"""An external program whose reports do not commit: `python -m lab.reports DSN [--hoard]`.

The first session locks the agents and is then idle in its transaction; a second session waits for it, and
every later write to an agent waits for both. With --hoard the program opens every connection that its role
may have, and holds each in a transaction; it does not replace connections that another process ends.
"""

import argparse
import threading
import time

import psycopg

LOCK = "UPDATE agents SET used_at = now()"
HOARD_SECONDS = 15.0
WAITERS = ("nightly-report-worker",)


def wait_behind(dsn: str, application: str) -> None:
    """Request the same rows; this session is blocked until the first session ends."""
    with psycopg.connect(dsn, application_name=application) as connection:
        connection.execute("LOCK TABLE agents IN ACCESS EXCLUSIVE MODE")


def hoard(dsn: str) -> list[psycopg.Connection[tuple[object, ...]]]:
    """Take connections as long as other clients use some: the backend opens and closes its own."""
    held: list[psycopg.Connection[tuple[object, ...]]] = []
    ends = time.monotonic() + HOARD_SECONDS
    while time.monotonic() < ends:
        try:
            held.append(psycopg.connect(dsn, application_name="monthly-report"))
            held[-1].execute("SELECT count(*) FROM agents")
        except psycopg.OperationalError:
            time.sleep(0.1)
    return held


def main() -> None:
    """Hold the lock until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn")
    parser.add_argument("--hoard", action="store_true")
    given = parser.parse_args()
    dsn = given.dsn
    if given.hoard:
        held = hoard(dsn)
        threading.Event().wait()
        held.clear()
    root = psycopg.connect(dsn, application_name="nightly-report")
    root.execute(LOCK)
    for application in WAITERS:
        threading.Thread(target=wait_behind, args=(dsn, application), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
