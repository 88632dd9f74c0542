"""The code sandbox: are there free workers, do executions end, which fail, how long do they take?"""

from runbooklib import measures, promql, queries
from runbooklib.errors import NonsenseError
from runbooklib.findings import Finding, Status
from runbooklib.measures import Limit, Words
from runbooklib.scene import Scene

AVAILABLE = "sandbox_pool_available"
IN_USE = "sandbox_pool_in_use"
# Few executions are many seconds of work: a quantile of three is worth telling.
LEAST_EXECUTIONS = 3.0


def sandbox_pool(scene: Scene, *, below: float) -> Finding:
    """Are there free sandboxes?

    The pool's own gauge, summed over instances; `below` is a number of sandboxes.
    """
    query = promql.sum_of(promql.selector(AVAILABLE, scene.labels))
    words = Words(
        template="{now:number} sandboxes are free; there should be {limit:number}.",
        line="free sandboxes",
        unit="count",
    )
    return measures.level(scene, query, Limit(below=below), words)


def sandboxes_in_use(scene: Scene, *, above_share: float = 0.9) -> Finding:
    """Is every sandbox taken?

    Sandboxes in use over all that the pool has, 0–1.
    """
    free, used = (promql.sum_of(promql.selector(name, scene.labels)) for name in (AVAILABLE, IN_USE))
    words = Words(template="{now:percent} of the sandboxes are in use.", line="in use", unit="ratio")
    return measures.level(scene, f"{used} / ({free} + {used} > 0)", Limit(above=above_share), words)


def pool_as_told(scene: Scene) -> Finding:
    """Does the health page say the same of the pool as its metric?

    A gauge that nothing sets stays 0 while the pool is full: then the alert is wrong, and not the pool.
    """
    scene.need_live("web")
    page = scene.sources.web.page(scene.service.health)
    told = page.components.get("sandbox_pool", {}).get("available_containers")
    if not isinstance(told, int):
        raise NonsenseError(
            "the health page does not say how many sandboxes are free",
            system="web",
            target=scene.service.url,
        )
    query = promql.sum_of(promql.selector(AVAILABLE, scene.labels))
    frame = measures.line(scene, query, "free sandboxes")
    gauge = measures.newest(scene, frame["free sandboxes"])
    contradicts = told > 0 and gauge == 0
    return Finding(
        status=Status.WARNING if contradicts else Status.OK,
        template=(
            "The health page tells of {told} free sandboxes and the metric of none: the metric is wrong."
            if contradicts
            else "The health page tells of {told} free sandboxes, the metric of {gauge:number}."
        ),
        facts={"told": told, "gauge": gauge},
        source="web",
        query=f"GET {scene.service.health}",
    )


def sandbox_error_rate(
    scene: Scene, *, above: float, least_executions: float = measures.LEAST_OF_A_SHARE
) -> Finding:
    """What share of code executions fails?

    `above` is a ratio 0–1; fewer than `least_executions` in the rate window is UNKNOWN.
    """
    runs = queries.executions(scene.target)
    words = Words(
        template="{now:percent} of code executions fail; the limit is {limit:percent}.",
        line="failed executions",
        unit="ratio",
    )
    limit = Limit(above=above)
    return measures.share(
        scene, runs.failed, runs.every, limit, words, what=runs.what, least=least_executions
    )


def failing_languages(scene: Scene, *, above: float) -> Finding:
    """Does one language fail, or all?

    The share of failed executions (0–1) by language, worst first.
    """
    words = Words(
        template=(
            "{beyond} of {all} languages fail more than {limit:percent}; worst is {worst}: {now:percent}."
        ),
        sound="None of {all} languages fails more than {limit:percent}.",
        line="",
        unit="ratio",
    )
    query = queries.share_of(scene.target, queries.executions(scene.target), by=("language",))
    return measures.by_label(scene, query, by="language", above=above, words=words, column="failing share")


def sandbox_time(scene: Scene, *, above: float, quantile: float = 0.95) -> Finding:
    """How long does code run?

    A quantile (0–1) of the duration of executions in seconds; `above` is seconds.
    """
    name = f"P{quantile * 100:g}"
    words = Words(
        template="{name} of code executions is {now:seconds}; the limit is {limit:seconds}.",
        line=name,
        unit="seconds",
        facts={"name": name},
    )
    return measures.quantile(
        scene,
        queries.execution_durations(scene.target),
        Limit(above=above),
        words,
        q=quantile,
        what="code executions",
        least=LEAST_EXECUTIONS,
    )


def slow_languages(scene: Scene, *, above: float, quantile: float = 0.95) -> Finding:
    """Is one language slow, or all?

    The quantile (0–1) of the duration of executions in seconds by language, slowest first.
    """
    words = Words(
        template=(
            "{beyond} of {all} languages are slower than {limit:seconds}; slowest is {worst}: {now:seconds}."
        ),
        sound="None of {all} languages is slower than {limit:seconds}.",
        line="",
        unit="seconds",
    )
    histogram = queries.execution_durations(scene.target)
    return measures.slowest(scene, histogram, by="language", q=quantile, above=above, words=words)


def sandbox_load(scene: Scene, *, above_times: float = 2.0) -> Finding:
    """Is more code executed than usual?

    Executions per second, those that were turned away included, against what was usual before it began.
    """
    words = Words(
        template="{now:rate} executions are asked for; usual is {usual:rate}.",
        line="executions",
        unit="per second",
    )
    query = queries.rate_of(scene.target, queries.executions(scene.target).every)
    return measures.change(scene, query, words, above_times=above_times)


def sandbox_throughput(scene: Scene, *, below_share: float = 0.5) -> Finding:
    """Do executions still end well?

    Successful executions per second against what was usual before it began. `below_share` is the ratio
    (0–1) of the two under which the sandbox counts as stuck.
    """
    done = promql.selector("sandbox_executions_total", {**scene.labels, "status": "success"})
    words = Words(
        template="{now:rate} executions end well; usual is {usual:rate}.",
        line="executed",
        unit="per second",
    )
    return measures.fall(scene, queries.rate_of(scene.target, done), words, below_share=below_share)
