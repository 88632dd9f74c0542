"""The code sandbox: free workers, failed executions and execution times."""

from runbooklib import promql
from runbooklib.checks import queries, thresholds
from runbooklib.checks.thresholds import Limit, Words
from runbooklib.errors import NonsenseError
from runbooklib.model.findings import Finding, Status
from runbooklib.sources.context import Scene

AVAILABLE = "sandbox_pool_available"
IN_USE = "sandbox_pool_in_use"
# Executions are few and long, so that the quantile of three is already meaningful.
MIN_EXECUTIONS = 3.0


def sandbox_pool(scene: Scene, *, below: float) -> Finding:
    """Are there free sandboxes?

    The pool's own gauge, summed over instances; `below` is a number of sandboxes.
    """
    query = promql.sum_of(promql.selector(AVAILABLE, scene.labels))
    words = Words(
        template="Free sandboxes: {now:number}; the limit is {limit:number}.",
        line="free sandboxes",
        unit="count",
    )
    return thresholds.level(scene, query, Limit(below=below), words)


def sandboxes_in_use(scene: Scene, *, above_share: float = 0.9) -> Finding:
    """Are all sandboxes in use?

    Sandboxes in use over all sandboxes of the pool; `above_share` is a ratio 0–1.
    """
    free, used = (promql.sum_of(promql.selector(name, scene.labels)) for name in (AVAILABLE, IN_USE))
    words = Words(
        template="{now:percent} of the sandboxes are in use; the limit is {limit:percent}.",
        line="in use",
        unit="ratio",
    )
    return thresholds.level(scene, f"{used} / ({free} + {used} > 0)", Limit(above=above_share), words)


def pool_as_told(scene: Scene) -> Finding:
    """Do the health page and the metric report the same number of free sandboxes?

    A gauge that the service never sets stays 0 while sandboxes are free: then the alert is wrong, not the
    pool.
    """
    scene.need_live("web")
    page = scene.sources.web.page(scene.service.health)
    reported = page.components.get("sandbox_pool", {}).get("available_containers")
    if not isinstance(reported, int):
        raise NonsenseError(
            "the health page reports no number of free sandboxes",
            system="web",
            target=scene.service.url,
        )
    query = promql.sum_of(promql.selector(AVAILABLE, scene.labels))
    frame = thresholds.line(scene, query, "free sandboxes")
    gauge = thresholds.newest(scene, frame["free sandboxes"])
    is_wrong = reported > 0 and gauge == 0
    template = "Free sandboxes: {reported} on the health page, {gauge:number} in the metric."
    if is_wrong:
        template = "Free sandboxes: {reported} on the health page, 0 in the metric. The metric is wrong."
    return Finding(
        status=Status.WARNING if is_wrong else Status.OK,
        template=template,
        facts={"reported": reported, "gauge": gauge},
        source="web",
        query=f"GET {scene.service.health}",
    )


def sandbox_error_rate(
    scene: Scene, *, above: float, least_executions: float = thresholds.LEAST_OF_A_SHARE
) -> Finding:
    """What share of code executions fails?

    `above` is a ratio 0–1; UNKNOWN for fewer than `least_executions` in the rate window.
    """
    runs = queries.executions(scene.target)
    words = Words(
        template="{now:percent} of code executions fail; the limit is {limit:percent}.",
        line="failed executions",
        unit="ratio",
    )
    limit = Limit(above=above)
    return thresholds.share(
        scene, runs.failed, runs.every, limit, words, what=runs.what, least=least_executions
    )


def failing_languages(scene: Scene, *, above: float) -> Finding:
    """In which languages do executions fail?

    The share of failed executions by language, highest first; `above` is a ratio 0–1.
    """
    words = Words(
        template=(
            "More than {limit:percent} of executions fail in {beyond} of {all} languages;"
            " the highest share is that of {worst}: {now:percent}."
        ),
        sound="More than {limit:percent} of executions fail in none of the {all} languages.",
        line="",
        unit="ratio",
    )
    query = queries.share_of(scene.target, queries.executions(scene.target), by=("language",))
    return thresholds.by_label(scene, query, by="language", above=above, words=words, column="failing share")


def sandbox_time(scene: Scene, *, above: float, quantile: float = 0.95) -> Finding:
    """How long do code executions take?

    The `quantile` (0–1) of the duration of executions; `above` is seconds.
    """
    name = f"P{quantile * 100:g}"
    words = Words(
        template="The {name} duration of code executions is {now:seconds}; the limit is {limit:seconds}.",
        line=name,
        unit="seconds",
        facts={"name": name},
    )
    return thresholds.quantile(
        scene,
        queries.execution_durations(scene.target),
        Limit(above=above),
        words,
        q=quantile,
        what="code executions",
        least=MIN_EXECUTIONS,
    )


def slow_languages(scene: Scene, *, above: float, quantile: float = 0.95) -> Finding:
    """In which languages are executions slow?

    The `quantile` (0–1) of the duration of executions by language, slowest first; `above` is seconds.
    """
    words = Words(
        template=(
            "Executions are slower than {limit:seconds} in {beyond} of {all} languages;"
            " the slowest is {worst}: {now:seconds}."
        ),
        sound="Executions are slower than {limit:seconds} in none of the {all} languages.",
        line="",
        unit="seconds",
    )
    histogram = queries.execution_durations(scene.target)
    return thresholds.slowest(scene, histogram, by="language", q=quantile, above=above, words=words)


def sandbox_load(scene: Scene, *, above_times: float = 2.0) -> Finding:
    """Are more code executions requested than usual?

    Executions per second, including rejected ones, compared with the usual value before the symptom began.
    """
    words = Words(
        template="{now:rate} executions are requested; usual is {usual:rate}.",
        line="executions",
        unit="per second",
    )
    query = queries.rate_of(scene.target, queries.executions(scene.target).every)
    return thresholds.change(scene, query, words, above_times=above_times)


def sandbox_throughput(scene: Scene, *, below_share: float = 0.5) -> Finding:
    """Do executions still succeed?

    Successful executions per second, compared with the usual value before the symptom began. Below the share
    `below_share` (0–1) of the usual value the sandbox counts as stuck.
    """
    succeeded = promql.selector("sandbox_executions_total", {**scene.labels, "status": "success"})
    words = Words(
        template="{now:rate} executions succeed; usual is {usual:rate}.",
        line="successful executions",
        unit="per second",
    )
    return thresholds.fall(scene, queries.rate_of(scene.target, succeeded), words, below_share=below_share)
