"""What the process uses of its machine: processor, memory, file descriptors. And: does it leak?"""

from runbooklib import measures, promql, queries
from runbooklib.findings import Finding
from runbooklib.measures import Limit, Words
from runbooklib.scene import Scene

_CPU = "process_cpu_seconds_total"
_MEMORY = "process_resident_memory_bytes"
_OPEN = "process_open_fds"
_MOST = "process_max_fds"


def cpu_usage(scene: Scene, *, above: float) -> Finding:
    """How much of a core does the busiest instance use?

    `above` is in cores: 0.8 is 80 % of one. Python code runs on one core at a time, whatever the machine has.
    """
    used = promql.rate(promql.selector(_CPU, scene.labels), scene.timing.rate_window)
    words = Words(
        template="{now:percent} of a core; the limit is {limit:percent}.", line="of a core", unit="ratio"
    )
    return measures.level(scene, f"max({used})", Limit(above=above), words)


def cpu_per_request(scene: Scene, *, above_times: float = 2.0) -> Finding:
    """Does one request cost more processor time than usual?

    Processor seconds over requests, against what was usual before it began: the code became dearer, and not
    the traffic larger.
    """
    used = queries.rate_of(scene.target, promql.selector(_CPU, scene.labels))
    words = Words(
        template="{now:seconds} of processor time a request; usual is {usual:seconds}.",
        line="processor time a request",
        unit="seconds",
    )
    query = f"{used} / ({queries.request_rate(scene.target)} > 0)"
    return measures.change(scene, query, words, above_times=above_times)


def resident_memory(scene: Scene, *, above: float) -> Finding:
    """How much memory does the process hold?

    The instance with most; `above` is bytes.
    """
    words = Words(
        template="{now:bytes} are resident; the limit is {limit:bytes}.", line="resident memory", unit="bytes"
    )
    query = f"max({promql.selector(_MEMORY, scene.labels)})"
    return measures.level(scene, query, Limit(above=above), words)


def memory_growth(scene: Scene, *, above_times: float = 1.5) -> Finding:
    """Does the process hold more memory than usual?

    The instance with most, against what was usual before it began.
    """
    words = Words(
        template="{now:bytes} are resident; usual before it began is {usual:bytes}.",
        line="resident memory",
        unit="bytes",
    )
    query = f"max({promql.selector(_MEMORY, scene.labels)})"
    return measures.change(scene, query, words, above_times=above_times)


def memory_per_request(scene: Scene, *, above_times: float = 2.0) -> Finding:
    """Does memory grow although traffic does not?

    Resident memory over requests per second, against what was usual before it began: what traffic brings
    grows with it, what leaks grows alone.
    """
    held = promql.sum_of(promql.selector(_MEMORY, scene.labels))
    words = Words(
        template="{now:bytes} for each request per second; usual is {usual:bytes}.",
        line="memory by traffic",
        unit="bytes",
    )
    query = f"{held} / ({queries.request_rate(scene.target)} > 0)"
    return measures.change(scene, query, words, above_times=above_times)


def descriptor_usage(scene: Scene, *, above: float) -> Finding:
    """How many of its file descriptors has the process opened?

    Open ones over the most that it may have, the fullest instance; `above` is a ratio 0–1.
    """
    opened, most = (promql.selector(name, scene.labels) for name in (_OPEN, _MOST))
    words = Words(
        template="{now:percent} of the file descriptors are open; the limit is {limit:percent}.",
        line="open descriptors",
        unit="ratio",
    )
    return measures.level(scene, f"max({opened} / {most})", Limit(above=above), words)


def descriptor_growth(scene: Scene, *, above_times: float = 2.0) -> Finding:
    """Are more file descriptors open than usual?

    The instance with most, against what was usual before it began.
    """
    words = Words(
        template="{now:number} are open; usual before it began is {usual:number}.",
        line="open descriptors",
        unit="count",
    )
    query = f"max({promql.selector(_OPEN, scene.labels)})"
    return measures.change(scene, query, words, above_times=above_times)


def descriptors_besides_requests(scene: Scene, *, above: float) -> Finding:
    """How many open files do requests in progress not account for?

    Open descriptors less requests in progress and database connections: sockets of these are meant to be
    open, everything else should be a few dozen. `above` is a number of descriptors.
    """
    opened = promql.sum_of(promql.selector(_OPEN, scene.labels))
    busy = promql.sum_of(promql.selector("http_requests_in_progress", scene.labels))
    connections = promql.sum_of(promql.selector("db_connections_active", scene.labels))
    words = Words(
        template=(
            "{now:number} belong to no request and to no database connection; usual are at "
            "most {limit:number}."
        ),
        line="unaccounted",
        unit="count",
    )
    query = f"{opened} - ({busy} or vector(0)) - ({connections} or vector(0))"
    return measures.level(scene, query, Limit(above=above), words)


def descriptor_limit(scene: Scene, *, below: float) -> Finding:
    """May the process open few files?

    The lowest limit of all instances; `below` is a number of descriptors.
    """
    query = f"min({promql.selector(_MOST, scene.labels)})"
    words = Words(
        template="The process may open {now:number} files; a server wants {limit:number}.",
        line="limit",
        unit="count",
    )
    return measures.level(scene, query, Limit(below=below), words)
