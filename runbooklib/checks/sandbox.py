"""The code sandbox: free workers, failed executions and execution times."""

from runbooklib.checks import queries, thresholds
from runbooklib.checks.dependencies import DISABLED
from runbooklib.checks.registry import check
from runbooklib.checks.thresholds import Threshold, Wording
from runbooklib.errors import NonsenseError, Reason
from runbooklib.model.findings import Finding, Status, unknown
from runbooklib.promql import build
from runbooklib.sources.context import Context

# Executions are few and long, so that the quantile of three is already meaningful.
MIN_EXECUTIONS = 3.0


@check
def sandbox_pool(context: Context, *, below: float) -> Finding:
    """Are there free sandboxes?

    The pool's own gauge, summed over instances; `below` is a number of sandboxes.
    """
    query = build.sum_of(build.selector(queries.FREE_SANDBOXES, context.labels))
    words = Wording(
        template="Free sandboxes: {now:number}; the limit is {limit:number}.",
        line="free sandboxes",
        unit="count",
    )
    return thresholds.level(context, query, Threshold(below=below), words)


@check
def sandboxes_in_use(context: Context, *, above_share: float = 0.9) -> Finding:
    """Are all sandboxes in use?

    Sandboxes in use over all sandboxes of the pool; `above_share` is a ratio 0–1.
    """
    free, used = (
        build.sum_of(build.selector(name, context.labels))
        for name in (queries.FREE_SANDBOXES, queries.SANDBOXES_IN_USE)
    )
    words = Wording(
        template="{now:percent} of the sandboxes are in use; the limit is {limit:percent}.",
        line="in use",
        unit="ratio",
    )
    return thresholds.level(context, f"{used} / ({free} + {used} > 0)", Threshold(above=above_share), words)


@check(formerly=("pool_as_told",))
def pool_matches_health_page(context: Context) -> Finding:
    """Do the health page and the metric report the same number of free sandboxes?

    A gauge that the service never sets stays 0 while sandboxes are free: then the alert is wrong, not the
    pool.
    """
    context.need_live("web")
    page = context.sources.web.page(context.service.health)
    pool = page.components.get("sandbox_pool", {})
    reported, state = pool.get("available_containers"), str(pool.get("status", ""))
    if state.lower() in DISABLED:
        return unknown(
            Reason.NOT_CONFIGURED,
            "The health page reports the sandbox pool as “{state}”: it has no number that can be compared.",
            facts={"state": state},
            source="web",
            query=f"GET {context.service.health}",
        )
    if not isinstance(reported, int):
        raise NonsenseError(
            "the health page reports no number of free sandboxes",
            system="web",
            target=context.service.url,
        )
    query = build.sum_of(build.selector(queries.FREE_SANDBOXES, context.labels))
    frame = thresholds.line(context, query, "free sandboxes")
    gauge = thresholds.newest(context, frame["free sandboxes"])
    is_wrong = reported > 0 and gauge == 0
    template = "Free sandboxes: {reported} on the health page, {gauge:number} in the metric."
    if is_wrong:
        template = "Free sandboxes: {reported} on the health page, 0 in the metric. The metric is wrong."
    return Finding(
        status=Status.WARNING if is_wrong else Status.OK,
        template=template,
        facts={"reported": reported, "gauge": gauge},
        source="web",
        query=f"GET {context.service.health}",
    )


@check
def sandbox_error_rate(
    context: Context, *, above: float, least_executions: float = thresholds.MIN_OF_A_SHARE
) -> Finding:
    """What share of code executions fails?

    `above` is a ratio 0–1; UNKNOWN for fewer than `least_executions` in the rate window.
    """
    runs = queries.executions(context.target)
    words = Wording(
        template="{now:percent} of code executions fail; the limit is {limit:percent}.",
        line="failed executions",
        unit="ratio",
    )
    limit = Threshold(above=above)
    return thresholds.share(
        context, runs.failed, runs.every, limit, words, what=runs.what, least=least_executions
    )


@check
def failing_languages(context: Context, *, above: float) -> Finding:
    """In which languages do executions fail?

    The share of failed executions by language, highest first; `above` is a ratio 0–1.
    """
    words = Wording(
        template=(
            "More than {limit:percent} of executions fail in {beyond} of {all} languages;"
            " the highest share is that of {worst}: {now:percent}."
        ),
        sound="More than {limit:percent} of executions fail in none of the {all} languages.",
        line="",
        unit="ratio",
    )
    query = queries.share_of(context.target, queries.executions(context.target), by=("language",))
    return thresholds.by_label(
        context, query, by="language", above=above, words=words, column="failing share"
    )


@check
def sandbox_time(context: Context, *, above: float, quantile: float = 0.95) -> Finding:
    """How long do code executions take?

    The `quantile` (0–1) of the duration of executions; `above` is seconds.
    """
    name = f"P{quantile * 100:g}"
    words = Wording(
        template="The {name} duration of code executions is {now:seconds}; the limit is {limit:seconds}.",
        line=name,
        unit="seconds",
        facts={"name": name},
    )
    return thresholds.quantile(
        context,
        queries.execution_durations(context.target),
        Threshold(above=above),
        words,
        q=quantile,
        what="code executions",
        least=MIN_EXECUTIONS,
    )


@check
def slow_languages(context: Context, *, above: float, quantile: float = 0.95) -> Finding:
    """In which languages are executions slow?

    The `quantile` (0–1) of the duration of executions by language, slowest first; `above` is seconds.
    """
    words = Wording(
        template=(
            "Executions are slower than {limit:seconds} in {beyond} of {all} languages;"
            " the slowest is {worst}: {now:seconds}."
        ),
        sound="Executions are slower than {limit:seconds} in none of the {all} languages.",
        line="",
        unit="seconds",
    )
    histogram = queries.execution_durations(context.target)
    return thresholds.slowest(context, histogram, by="language", q=quantile, above=above, words=words)


@check
def sandbox_load(context: Context, *, above_times: float = 2.0) -> Finding:
    """Are more code executions requested than usual?

    Executions per second, including rejected ones, compared with the usual value before the symptom began.
    """
    words = Wording(
        template="{now:rate} executions are requested; usual is {usual:rate}.",
        line="executions",
        unit="per second",
    )
    query = queries.rate_of(context.target, queries.executions(context.target).every)
    return thresholds.change(context, query, words, above_times=above_times)


@check
def sandbox_throughput(context: Context, *, below_share: float = 0.5) -> Finding:
    """Do executions still succeed?

    Successful executions per second, compared with the usual value before the symptom began. Below the share
    `below_share` (0–1) of the usual value the sandbox counts as stuck.
    """
    succeeded = build.selector("sandbox_executions_total", {**context.labels, "status": "success"})
    words = Wording(
        template="{now:rate} executions succeed; usual is {usual:rate}.",
        line="successful executions",
        unit="per second",
    )
    return thresholds.fall(
        context, queries.rate_of(context.target, succeeded), words, below_share=below_share
    )
