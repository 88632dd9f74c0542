"""The AI provider, as the service's own metrics see it."""

from runbooklib import measures, promql, queries
from runbooklib.findings import Finding
from runbooklib.measures import Limit, Words
from runbooklib.scene import Scene

TOKENS = "ai_chat_tokens_total"
LEAST_REQUESTS = 5.0
_SECONDS_AN_HOUR = 3600


def ai_error_rate(scene: Scene, *, above: float, least_requests: float = LEAST_REQUESTS) -> Finding:
    """What share of the requests to the AI provider fails?

    `above` is a ratio 0–1; fewer than `least_requests` in the rate window is UNKNOWN.
    """
    chats = queries.chats(scene.target)
    words = Words(
        template="{now:percent} of AI requests fail ({kinds}); the limit is {limit:percent}.",
        line="failed AI requests",
        unit="ratio",
        facts={"kinds": _kinds(scene) or "no error type counted"},
    )
    limit = Limit(above=above, critical_above=above)
    return measures.share(
        scene, chats.failed, chats.every, limit, words, what=chats.what, least=least_requests
    )


def _kinds(scene: Scene) -> str:
    """The error types that are being counted, most frequent first."""
    errors = promql.selector("ai_chat_errors_total", scene.labels)
    query = queries.rate_of(scene.target, errors, by=("error_type",))
    frame = scene.sources.prometheus.instant(query, scene.window.end)
    if frame.empty:
        return ""
    seen = frame[frame["value"] > 0].sort_values("value", ascending=False)
    return ", ".join(seen["error_type"].astype(str))


def ai_response_time(scene: Scene, *, above: float, quantile: float = 0.95) -> Finding:
    """How long does the AI provider take to answer?

    A quantile (0–1) of the duration of requests to it in seconds; `above` is seconds.
    """
    name = f"P{quantile * 100:g}"
    words = Words(
        template="{name} of AI requests is {now:seconds}; the limit is {limit:seconds}.",
        line=name,
        unit="seconds",
        facts={"name": name},
    )
    return measures.quantile(
        scene, queries.chat_durations(scene.target), Limit(above=above), words, q=quantile, what="AI requests"
    )


def ai_load(scene: Scene, *, above_times: float = 2.0) -> Finding:
    """Is the AI asked more often than usual?

    Requests per second against what was usual before it began.
    """
    words = Words(
        template="{now:rate} AI requests; usual is {usual:rate}.", line="AI requests", unit="per second"
    )
    query = queries.rate_of(scene.target, queries.chats(scene.target).every)
    return measures.change(scene, query, words, above_times=above_times)


def ai_tokens(scene: Scene, *, above: float) -> Finding:
    """How many tokens are used?

    Tokens per second over the rate window; `above` is per second. The alert's text speaks of an hour, its
    rule of a second: the sentence gives both.
    """
    query = queries.rate_of(scene.target, promql.selector(TOKENS, scene.labels))
    frame = measures.line(scene, query, "tokens")
    hourly = measures.newest(scene, frame["tokens"]) * _SECONDS_AN_HOUR
    words = Words(
        template="{now:rate} tokens, which is {hourly:number} an hour; the limit is {limit:rate}.",
        line="tokens",
        unit="per second",
        facts={"hourly": hourly},
    )
    return measures.level(scene, query, Limit(above=above), words)


def tokens_by_model(scene: Scene, *, above: float) -> Finding:
    """Which model uses them?

    Tokens per second by model, most first; `above` is per second.
    """
    words = Words(
        template="{beyond} of {all} models use more than {limit:rate} tokens; most {worst}: {now:rate}.",
        sound="None of {all} models uses more than {limit:rate} tokens.",
        line="",
        unit="per second",
    )
    query = queries.rate_of(scene.target, promql.selector(TOKENS, scene.labels), by=("model",))
    column = "tokens per second"
    return measures.by_label(scene, query, by="model", above=above, words=words, column=column)


def tokens_per_request(scene: Scene, *, above_times: float = 2.0) -> Finding:
    """Does one request use more tokens than usual?

    Tokens over successful requests, against what was usual before it began: longer prompts or longer
    answers, and not more users.
    """
    tokens = queries.rate_of(scene.target, promql.selector(TOKENS, scene.labels))
    answered = promql.selector("ai_chat_requests_total", {**scene.labels, "status": "success"})
    words = Words(
        template="{now:number} tokens a request; usual is {usual:number}.",
        line="tokens a request",
        unit="count",
    )
    query = f"{tokens} / ({queries.rate_of(scene.target, answered)} > 0)"
    return measures.change(scene, query, words, above_times=above_times)
