"""The faults: each really breaks a part of the lab, and each can be undone."""

import json
from collections.abc import Callable
from dataclasses import dataclass

from lab import deployments, engine, monitoring, postgres, processes, servers
from lab.errors import LabError
from lab.layout import Layout

Step = Callable[[Layout], None]


@dataclass(frozen=True, slots=True)
class Fault:
    """A fault: what it does, how it begins and how it ends. `switches` are for the backend.

    `fires` lists the alerts that certainly fire; others may fire too.
    """

    says: str
    fires: tuple[str, ...] = ()
    begin: Step | None = None
    end: Step | None = None
    switches: tuple[tuple[str, float | bool], ...] = ()


def deploy_bad_release(layout: Layout) -> None:
    """Commit and build the bad release, and replace the running container with it."""
    engine.run(layout, deployments.commit_bad_release(layout))


def original_container(layout: Layout) -> None:
    """Run a new container of the working version, with its usual limits."""
    engine.run(layout, deployments.original(layout))


def hoard_connections(layout: Layout) -> None:
    """A report takes all free connections, and those of the backend's pool when it restarts."""
    processes.start(layout, servers.hoarder(layout))
    engine.restart(layout)


def start_database(layout: Layout) -> None:
    """Start PostgreSQL again."""
    processes.start(layout, postgres.server(layout))


FAULTS: dict[str, Fault] = {
    "oom": Fault(
        "memory leak: the kernel kills the backend at its memory limit, Docker starts it again",
        fires=("HighErrorRate", "MediumErrorRate"),
        switches=(("memory_leak_mib_per_second", 15.0),),
    ),
    "oom-child": Fault(
        "greedy code in the sandbox: the kernel kills the child, the container goes on",
        fires=("HighSandboxErrorRate", "MediumErrorRate"),
        switches=(("sandbox_memory_mib", 400),),
    ),
    "cache-too-large": Fault(
        "a cache of 150 MiB does not fit into the memory limit: the kernel kills the backend again and again",
        fires=("HighErrorRate", "MediumErrorRate"),
        switches=(("memory_leak_mib_per_second", 15.0), ("memory_leak_at_most_mib", 150.0)),
    ),
    "crash-loop": Fault(
        "the backend ends with code 1 at each start",
        fires=("ServiceDown",),
        switches=(("crash", True),),
    ),
    "connections-exhausted": Fault(
        "the backend forgets to end its transactions until no connection is left",
        fires=("HighDatabaseConnections", "ComponentUnhealthy", "HighErrorRate", "MediumErrorRate"),
        switches=(("leak_transactions", True),),
    ),
    "connections-hoarded": Fault(
        "a report holds every connection of the backend's role, each idle in a transaction",
        fires=("ComponentUnhealthy", "HighErrorRate", "MediumErrorRate"),
        begin=hoard_connections,
        end=lambda layout: ignore(processes.stop(layout, "hoarder")),
    ),
    "lock-chain": Fault(
        "a report locks the agents and stays idle in transaction, others wait behind it",
        fires=("SlowDatabaseQueries", "HighLatency", "VeryHighLatency", "HighErrorRate", "MediumErrorRate"),
        begin=lambda layout: ignore(processes.start(layout, servers.reports(layout))),
        end=lambda layout: ignore(processes.stop(layout, "nightly-report")),
    ),
    "slow-queries": Fault(
        "the index of the message search is gone",
        fires=("SlowDatabaseQueries",),
        begin=postgres.drop_index,
        end=postgres.restore_index,
    ),
    "ai-provider-down": Fault(
        "the AI provider refuses connections",
        fires=("AIServiceErrors", "HighErrorRate", "MediumErrorRate"),
        begin=lambda layout: ignore(processes.stop(layout, "ai-provider")),
        end=lambda layout: servers.restart(layout, servers.provider(layout)),
    ),
    "ai-provider-hangs": Fault(
        "the AI provider accepts connections and never answers",
        fires=("AIServiceErrors", "HighLatency", "VeryHighLatency", "HighErrorRate", "MediumErrorRate"),
        begin=lambda layout: servers.restart(layout, servers.provider(layout, hang=True)),
        end=lambda layout: servers.restart(layout, servers.provider(layout)),
    ),
    "dns-broken": Fault(
        "the DNS server answers SERVFAIL for the AI provider",
        fires=("AIServiceErrors", "HighErrorRate", "MediumErrorRate"),
        begin=lambda layout: servers.restart(layout, servers.nameserver(layout, broken=True)),
        end=lambda layout: servers.restart(layout, servers.nameserver(layout)),
    ),
    "bad-deploy": Fault(
        "a release with a bug in two endpoints is deployed",
        fires=("HighErrorRate", "MediumErrorRate"),
        begin=deploy_bad_release,
        end=lambda layout: ignore(deployments.roll_back(layout)),
    ),
    "error-burst": Fault(
        "a fifth of the user requests fail at random",
        fires=("HighErrorRate", "MediumErrorRate"),
        switches=(("error_share", 0.2),),
    ),
    "slow-responses": Fault(
        "every user request takes about 3 s longer",
        fires=("HighLatency", "VeryHighLatency"),
        switches=(("delay_seconds", 3.0),),
    ),
    "pool-depleted": Fault(
        "sandbox workers hang and are never free again",
        fires=(
            "SandboxPoolDepleted",
            "HighSandboxErrorRate",
            "HighLatency",
            "HighErrorRate",
            "MediumErrorRate",
        ),
        switches=(("sandbox_stuck", True),),
    ),
    "target-gone": Fault(
        "the backend vanishes from the configuration of Prometheus",
        begin=lambda layout: monitoring.set_target(layout, present=False),
        end=lambda layout: monitoring.set_target(layout, present=True),
    ),
    "health-lies": Fault(
        "/health answers 503 on a sound database",
        fires=("ComponentUnhealthy", "HighErrorRate", "MediumErrorRate"),
        switches=(("health_lies", True),),
    ),
    "no-traffic": Fault(
        "no user sends anything",
        begin=lambda layout: ignore(processes.stop(layout, "traffic")),
        end=lambda layout: ignore(processes.start(layout, servers.traffic(layout))),
    ),
    "error-trickle": Fault(
        "three of a hundred user requests fail at random",
        fires=("MediumErrorRate",),
        switches=(("error_share", 0.03),),
    ),
    "request-pile-up": Fault(
        "every user request takes about 5.5 s longer: more are in progress than the alert allows",
        fires=("HighConcurrentRequests", "HighLatency", "VeryHighLatency"),
        switches=(("delay_seconds", 5.5),),
    ),
    "sandbox-slow": Fault(
        "every code execution takes 12 s",
        fires=(
            "SlowSandboxExecution",
            "SandboxPoolDepleted",
            "HighSandboxErrorRate",
            "HighLatency",
            "HighErrorRate",
            "MediumErrorRate",
        ),
        switches=(("sandbox_seconds", 12.0),),
    ),
    "ai-provider-slow": Fault(
        "a fifth of the AI answers take 17 s, and the backend waits for them",
        fires=("SlowAIResponse", "HighLatency", "VeryHighLatency"),
        begin=lambda layout: servers.restart(layout, servers.provider(layout, slow=True)),
        end=lambda layout: servers.restart(layout, servers.provider(layout)),
        switches=(("ai_timeout_seconds", 30.0),),
    ),
    "token-burst": Fault(
        "the backend sends the whole history with each AI message",
        fires=("HighAITokenConsumption",),
        switches=(("prompt_padding_characters", 60_000),),
    ),
    "memory-growth": Fault(
        "the backend may have 3 GiB and grows to 2.3",
        fires=("HighMemoryUsage",),
        begin=engine.enlarge,
        end=original_container,
        switches=(("memory_leak_mib_per_second", 400.0), ("memory_leak_at_most_mib", 2300.0)),
    ),
    "cpu-burn": Fault(
        "a loop that never ends takes a core",
        fires=("HighCPUUsage",),
        switches=(("burn", True),),
    ),
    "descriptor-leak": Fault(
        "the backend opens files and never closes them",
        fires=("HighFileDescriptorUsage",),
        switches=(("leak_descriptors", True),),
    ),
    "database-down": Fault(
        "PostgreSQL is stopped",
        fires=("ComponentUnhealthy", "HighErrorRate", "MediumErrorRate"),
        begin=lambda layout: ignore(processes.stop(layout, "postgres")),
        end=start_database,
    ),
}


def ignore(_: object) -> None:
    """One step that begins or ends a fault. It returns nothing."""


def find(name: str) -> Fault:
    """The fault of that name."""
    if name not in FAULTS:
        raise LabError(f"no fault named {name!r}; there are: {', '.join(FAULTS)}")
    return FAULTS[name]


def active(layout: Layout) -> list[str]:
    """Names of the active faults, in the order in which they began."""
    try:
        names: list[str] = json.loads((layout.state / "active.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return names


def remember(layout: Layout, names: list[str]) -> None:
    """Record the active faults."""
    replace(layout, "active.json", json.dumps(names))


def switch(layout: Layout, names: list[str]) -> None:
    """Write the switches of these faults for the backend."""
    switches = {name: value for fault in names for name, value in FAULTS[fault].switches}
    replace(layout, "faults/faults.json", json.dumps(switches))


def ending(names: list[str]) -> list[str]:
    """The last fault ends first, but the database is restored before the servers that need it."""
    last_first = names[::-1]
    return sorted(last_first, key=lambda name: name != "database-down")


def replace(layout: Layout, name: str, content: str) -> None:
    """Write a file atomically."""
    path = layout.state / name
    part = path.with_suffix(".part")
    part.write_text(content + "\n", encoding="utf-8")
    part.replace(path)


def forget(layout: Layout) -> None:
    """Reset a stopped lab, so that it starts healthy: no active fault, original working tree and schema."""
    names = active(layout)
    remember(layout, [])
    switch(layout, [])
    if "bad-deploy" in names:
        deployments.roll_back(layout)
