"""The faults: each one really breaks something, and each one can be undone."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from lab import deployments, engine, monitoring, postgres, processes, web
from lab.errors import LabError
from lab.layout import Layout
from lab.processes import Server

Step = Callable[[Layout], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """What it does, in a sentence, and how it begins and ends; switches are for the backend itself."""

    says: str
    begin: Step | None = None
    end: Step | None = None
    switches: tuple[tuple[str, float | bool], ...] = ()


def provider(layout: Layout, *, hang: bool = False) -> Server:
    """The AI provider, sound or hanging."""
    argv = (sys.executable, "-m", "lab.provider", str(layout.provider_port), *(["--hang"] if hang else []))
    port = layout.provider_port
    ready = (lambda: processes.listens(port)) if hang else (lambda: web.is_ok(port, "/health"))
    return Server("ai-provider", argv, ready, port=port)


def nameserver(layout: Layout, *, broken: bool = False) -> Server:
    """The DNS server, sound or broken; it listens on TCP before it answers UDP."""
    port = layout.nameserver_port
    argv = (sys.executable, "-m", "lab.nameserver", str(port), *(["--broken"] if broken else []))
    return Server("nameserver", argv, lambda: processes.listens(port), port=port)


def traffic(layout: Layout) -> Server:
    """The users."""
    argv = (sys.executable, "-m", "lab.traffic", str(layout.backend_port))
    return Server("traffic", argv, lambda: True)


def reports(layout: Layout) -> Server:
    """The external program that forgets to commit."""
    argv = (sys.executable, "-m", "lab.reports", layout.dsn("helloagents"))
    return Server("nightly-report", argv, lambda: report_waits(layout))


def report_waits(layout: Layout) -> bool:
    """True when the second session waits behind the first."""
    with psycopg.connect(layout.dsn("runbook_reader")) as connection:
        question = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'nightly-report-worker'"
        row = connection.execute(question + " AND wait_event_type = 'Lock'").fetchone()
    return row is not None and row[0] > 0


def restart(layout: Layout, server: Server) -> None:
    """Stop a server by its pid and start it in another manner."""
    processes.stop(layout, server.name)
    processes.start(layout, server)


def deploy_bad_release(layout: Layout) -> None:
    """Commit it, build it, and put it in the place of what runs."""
    engine.run(layout, deployments.commit_bad_release(layout))


FAULTS: dict[str, Fault] = {
    "oom": Fault(
        "memory leak: the kernel kills the backend at its memory limit, Docker starts it again",
        switches=(("memory_leak_mib_per_second", 15.0),),
    ),
    "oom-child": Fault(
        "greedy code in the sandbox: the kernel kills the child, the container goes on",
        switches=(("sandbox_memory_mib", 400),),
    ),
    "crash-loop": Fault("the backend ends with code 1 soon after each start", switches=(("crash", True),)),
    "connections-exhausted": Fault(
        "the backend forgets to end its transactions until no connection is left",
        switches=(("leak_transactions", True),),
    ),
    "lock-chain": Fault(
        "a report locks the agents and stays idle in transaction, others wait behind it",
        begin=lambda layout: ignore(processes.start(layout, reports(layout))),
        end=lambda layout: ignore(processes.stop(layout, "nightly-report")),
    ),
    "slow-queries": Fault(
        "the index of the message search is gone",
        begin=postgres.drop_index,
        end=postgres.restore_index,
    ),
    "ai-provider-down": Fault(
        "the AI provider refuses connections",
        begin=lambda layout: ignore(processes.stop(layout, "ai-provider")),
        end=lambda layout: restart(layout, provider(layout)),
    ),
    "ai-provider-hangs": Fault(
        "the AI provider accepts connections and never answers",
        begin=lambda layout: restart(layout, provider(layout, hang=True)),
        end=lambda layout: restart(layout, provider(layout)),
    ),
    "dns-broken": Fault(
        "the DNS server answers SERVFAIL for the AI provider",
        begin=lambda layout: restart(layout, nameserver(layout, broken=True)),
        end=lambda layout: restart(layout, nameserver(layout)),
    ),
    "bad-deploy": Fault(
        "a release with a bug in two endpoints is deployed",
        begin=deploy_bad_release,
        end=deployments.roll_back,
    ),
    "error-burst": Fault("a fifth of the user requests fail at random", switches=(("error_share", 0.2),)),
    "slow-responses": Fault("every user request takes about 3 s longer", switches=(("delay_seconds", 3.0),)),
    "pool-depleted": Fault(
        "sandbox workers hang and are never free again", switches=(("sandbox_stuck", True),)
    ),
    "target-gone": Fault(
        "the backend vanishes from the configuration of Prometheus",
        begin=lambda layout: monitoring.set_target(layout, present=False),
        end=lambda layout: monitoring.set_target(layout, present=True),
    ),
    "health-lies": Fault("/health answers 503 on a sound database", switches=(("health_lies", True),)),
    "no-traffic": Fault(
        "no user sends anything",
        begin=lambda layout: ignore(processes.stop(layout, "traffic")),
        end=lambda layout: ignore(processes.start(layout, traffic(layout))),
    ),
}


def ignore(_: object) -> None:
    """A step has no answer."""


def find(name: str) -> Fault:
    """The fault of that name."""
    if name not in FAULTS:
        raise LabError(f"no fault named {name!r}; there are: {', '.join(FAULTS)}")
    return FAULTS[name]


def active(layout: Layout) -> list[str]:
    """Faults that are on, in the order in which they came."""
    try:
        names: list[str] = json.loads((layout.state / "active.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return names


def remember(layout: Layout, names: list[str]) -> None:
    """Write down what is on, and the switches that follow from it, each file in one move."""
    switches = {name: value for fault in names for name, value in FAULTS[fault].switches}
    replace(layout, "active.json", json.dumps(names))
    replace(layout, "faults/faults.json", json.dumps(switches))


def replace(layout: Layout, name: str, content: str) -> None:
    """Write a file so that no reader ever sees half of it."""
    path = layout.state / name
    part = path.with_suffix(".part")
    part.write_text(content + "\n", encoding="utf-8")
    part.replace(path)


def forget(layout: Layout) -> None:
    """A stopped lab starts sound: no fault is on, the working tree and the schema are the original ones."""
    names = active(layout)
    remember(layout, [])
    if "bad-deploy" in names:
        deployments.roll_back(layout)
