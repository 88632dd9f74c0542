"""The lab's small servers, each healthy or broken: AI provider, DNS, users, nightly report."""

import sys

import psycopg

from lab import processes, web
from lab.layout import Layout
from lab.processes import Server

MAX_FREE = 40  # minimum of connections that the backend leaves to other clients
SLOW = ("--slow-every", "5", "--slow-seconds", "17")


def provider(layout: Layout, *, hang: bool = False, slow: bool = False) -> Server:
    """The AI provider: healthy, hanging or slow."""
    how = ("--hang",) if hang else SLOW if slow else ()
    argv = (sys.executable, "-m", "lab.provider", str(layout.provider_port), *how)
    port = layout.provider_port
    ready = (lambda: processes.listens(port)) if hang else (lambda: web.is_ok(port, "/health"))
    return Server("ai-provider", argv, ready, port=port)


def nameserver(layout: Layout, *, broken: bool = False) -> Server:
    """The DNS server: healthy or broken; it listens on TCP before it answers UDP."""
    port = layout.nameserver_port
    argv = (sys.executable, "-m", "lab.nameserver", str(port), *(["--broken"] if broken else []))
    return Server("nameserver", argv, lambda: processes.listens(port), port=port)


def traffic(layout: Layout) -> Server:
    """The simulated users."""
    argv = (sys.executable, "-m", "lab.traffic", str(layout.backend_port))
    return Server("traffic", argv, lambda: True)


def reports(layout: Layout) -> Server:
    """The external program that forgets to commit."""
    argv = (sys.executable, "-m", "lab.reports", layout.dsn("helloagents"))
    return Server("nightly-report", argv, lambda: report_waits(layout))


def hoarder(layout: Layout) -> Server:
    """The external program that holds every connection that it can open."""
    argv = (sys.executable, "-m", "lab.reports", layout.dsn("helloagents"), "--hoard")
    return Server("hoarder", argv, lambda: hoards(layout))


def hoards(layout: Layout) -> bool:
    """True if the report holds most of the connections."""
    with psycopg.connect(layout.dsn("runbook_reader")) as connection:
        question = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'monthly-report'"
        row = connection.execute(question).fetchone()
    return row is not None and row[0] >= MAX_FREE


def report_waits(layout: Layout) -> bool:
    """True if the second session waits for the first."""
    with psycopg.connect(layout.dsn("runbook_reader")) as connection:
        question = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nightly-report-worker'"
        row = connection.execute(question + " AND wait_event_type = 'Lock'").fetchone()
    return row is not None and row[0] > 0


def restart(layout: Layout, server: Server) -> None:
    """Stop a server by its pid, and start it with the new arguments."""
    processes.stop(layout, server.name)
    processes.start(layout, server)
