"""The process's use of CPU, memory and file descriptors, now and compared with usual values."""

from runbooklib.checks import queries, thresholds
from runbooklib.checks.registry import check
from runbooklib.checks.thresholds import Threshold, Wording
from runbooklib.model.findings import Finding
from runbooklib.promql import build
from runbooklib.sources.context import Context

_CPU = "process_cpu_seconds_total"
_MEMORY = "process_resident_memory_bytes"
_OPEN_FILES = "process_open_fds"
_MAX_FILES = "process_max_fds"


@check
def cpu_usage(context: Context, *, above: float) -> Finding:
    """How much CPU does the busiest instance use?

    `above` is in cores: 0.8 is 80 % of one core. Python code runs on one core at a time.
    """
    used = build.rate(build.selector(_CPU, context.labels), context.timing.rate_window)
    words = Wording(
        template="The busiest instance uses {now:percent} of a core; the limit is {limit:percent}.",
        line="of a core",
        unit="ratio",
    )
    return thresholds.level(context, f"max({used})", Threshold(above=above), words)


@check
def cpu_per_request(context: Context, *, above_times: float = 2.0) -> Finding:
    """Does one request use more CPU time than usual?

    CPU seconds over requests, compared with the usual value before the symptom began: a higher value means
    that the code became more expensive, not that traffic grew.
    """
    used = queries.rate_of(context.target, build.selector(_CPU, context.labels))
    words = Wording(
        template="One request uses {now:seconds} of CPU time; usual is {usual:seconds}.",
        line="CPU time per request",
        unit="seconds",
    )
    query = f"{used} / ({queries.request_rate(context.target)} > 0)"
    return thresholds.change(context, query, words, above_times=above_times)


@check
def resident_memory(context: Context, *, above: float) -> Finding:
    """How much memory does the process use?

    The instance that uses most; `above` is bytes.
    """
    words = Wording(
        template="The process uses {now:bytes} of memory; the limit is {limit:bytes}.",
        line="resident memory",
        unit="bytes",
    )
    query = f"max({build.selector(_MEMORY, context.labels)})"
    return thresholds.level(context, query, Threshold(above=above), words)


@check
def memory_growth(context: Context, *, above_times: float = 1.5) -> Finding:
    """Does the process use more memory than usual?

    The instance that uses most, compared with the usual value before the symptom began.
    """
    words = Wording(
        template="The process uses {now:bytes} of memory; usual is {usual:bytes}.",
        line="resident memory",
        unit="bytes",
    )
    query = f"max({build.selector(_MEMORY, context.labels)})"
    return thresholds.change(context, query, words, above_times=above_times)


@check
def memory_per_request(context: Context, *, above_times: float = 2.0) -> Finding:
    """Does memory grow although traffic does not?

    Resident memory over requests per second, compared with the usual value before the symptom began: memory
    that traffic needs grows with traffic, leaked memory grows alone.
    """
    used = build.sum_of(build.selector(_MEMORY, context.labels))
    words = Wording(
        template="The process uses {now:bytes} of memory per request per second; usual is {usual:bytes}.",
        line="memory by traffic",
        unit="bytes",
    )
    query = f"{used} / ({queries.request_rate(context.target)} > 0)"
    return thresholds.change(context, query, words, above_times=above_times)


@check
def descriptor_usage(context: Context, *, above: float) -> Finding:
    """What share of its file descriptors does the process use?

    Open file descriptors over the limit of the process, of the instance with the highest share; `above` is a
    ratio 0–1.
    """
    opened, limit = (build.selector(name, context.labels) for name in (_OPEN_FILES, _MAX_FILES))
    words = Wording(
        template="{now:percent} of the file descriptors are open; the limit is {limit:percent}.",
        line="open descriptors",
        unit="ratio",
    )
    return thresholds.level(context, f"max({opened} / {limit})", Threshold(above=above), words)


@check
def descriptor_growth(context: Context, *, above_times: float = 2.0) -> Finding:
    """Are more file descriptors open than usual?

    The instance with most, compared with the usual value before the symptom began.
    """
    words = Wording(
        template="Open file descriptors: {now:number}; usual is {usual:number}.",
        line="open descriptors",
        unit="count",
    )
    query = f"max({build.selector(_OPEN_FILES, context.labels)})"
    return thresholds.change(context, query, words, above_times=above_times)


@check
def descriptors_besides_requests(context: Context, *, above: float) -> Finding:
    """How many open file descriptors belong neither to requests nor to database connections?

    Open file descriptors minus requests in progress and database connections: each of these has an open
    socket, the remainder should be a few dozen. `above` is a number of file descriptors.
    """
    opened = build.sum_of(build.selector(_OPEN_FILES, context.labels))
    busy = build.sum_of(build.selector(queries.IN_PROGRESS, context.labels))
    connections = build.sum_of(build.selector(queries.CONNECTIONS, context.labels))
    words = Wording(
        template=(
            "Open file descriptors without a request or a database connection: {now:number}; the limit is"
            " {limit:number}."
        ),
        line="unaccounted",
        unit="count",
    )
    query = f"{opened} - ({busy} or vector(0)) - ({connections} or vector(0))"
    return thresholds.level(context, query, Threshold(above=above), words)


@check
def descriptor_limit(context: Context, *, below: float) -> Finding:
    """Is the limit of open files low?

    The lowest limit of all instances; `below` is a number of file descriptors.
    """
    query = f"min({build.selector(_MAX_FILES, context.labels)})"
    words = Wording(
        template="The process may open {now:number} files; it should be at least {limit:number}.",
        line="limit",
        unit="count",
    )
    return thresholds.level(context, query, Threshold(below=below), words)
