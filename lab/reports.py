"""A nightly report that forgot to commit, an external program: `python -m lab.reports DSN`.

The first session locks the agents and then sits idle in its transaction; a second waits for it, and whoever
writes an agent afterwards waits behind both.
"""

import argparse
import threading

import psycopg

LOCK = "UPDATE agents SET used_at = now()"
WAITERS = ("nightly-report-worker",)


def wait_behind(dsn: str, application: str) -> None:
    """Ask for the same rows; this session is blocked until the first one ends."""
    with psycopg.connect(dsn, application_name=application) as connection:
        connection.execute("LOCK TABLE agents IN ACCESS EXCLUSIVE MODE")


def main() -> None:
    """Hold the lock until stopped."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dsn")
    dsn = parser.parse_args().dsn
    root = psycopg.connect(dsn, application_name="nightly-report")
    root.execute(LOCK)
    for application in WAITERS:
        threading.Thread(target=wait_behind, args=(dsn, application), daemon=True).start()
    threading.Event().wait()


if __name__ == "__main__":
    main()
