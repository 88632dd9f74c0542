"""The AI provider, measured by the service that uses it."""

from runbooklib import promql
from runbooklib.checks import queries, thresholds
from runbooklib.checks.thresholds import Limit, Words
from runbooklib.model.findings import Finding
from runbooklib.sources.context import Scene

TOKENS = "ai_chat_tokens_total"
MIN_REQUESTS = 5.0
_SECONDS_PER_HOUR = 3600


def ai_error_rate(scene: Scene, *, above: float, least_requests: float = MIN_REQUESTS) -> Finding:
    """What share of the requests to the AI provider fails?

    `above` is a ratio 0–1; UNKNOWN for fewer than `least_requests` in the rate window.
    """
    chats = queries.chats(scene.target)
    error_types = _error_types(scene)
    words = Words(
        template=(
            "{now:percent} of AI requests fail; the limit is {limit:percent}."
            " Error types, most frequent first: {error_types}."
            if error_types
            else "{now:percent} of AI requests fail; the limit is {limit:percent}."
        ),
        line="failed AI requests",
        unit="ratio",
        facts={"error_types": error_types},
    )
    limit = Limit(above=above, critical_above=above)
    return thresholds.share(
        scene, chats.failed, chats.every, limit, words, what=chats.what, least=least_requests
    )


def _error_types(scene: Scene) -> str:
    """The error types that increase now, most frequent first."""
    errors = promql.selector("ai_chat_errors_total", scene.labels)
    query = queries.rate_of(scene.target, errors, by=("error_type",))
    frame = scene.sources.prometheus.instant(query, scene.window.end)
    if frame.empty:
        return ""
    increasing = frame[frame["value"] > 0].sort_values("value", ascending=False)
    return ", ".join(increasing["error_type"].astype(str))


def ai_response_time(scene: Scene, *, above: float, quantile: float = 0.95) -> Finding:
    """How long does the AI provider take to answer?

    The `quantile` (0–1) of the duration of requests to the provider; `above` is seconds.
    """
    name = f"P{quantile * 100:g}"
    words = Words(
        template="The {name} duration of AI requests is {now:seconds}; the limit is {limit:seconds}.",
        line=name,
        unit="seconds",
        facts={"name": name},
    )
    return thresholds.quantile(
        scene, queries.chat_durations(scene.target), Limit(above=above), words, q=quantile, what="AI requests"
    )


def ai_load(scene: Scene, *, above_times: float = 2.0) -> Finding:
    """Are more AI requests sent than usual?

    Requests per second, compared with the usual value before the symptom began.
    """
    words = Words(
        template="{now:rate} AI requests are sent; usual is {usual:rate}.",
        line="AI requests",
        unit="per second",
    )
    query = queries.rate_of(scene.target, queries.chats(scene.target).every)
    return thresholds.change(scene, query, words, above_times=above_times)


def ai_tokens(scene: Scene, *, above: float) -> Finding:
    """How many tokens are used?

    Tokens per second over the rate window; `above` is per second. The sentence gives the number per hour as
    well, since the alert's text uses hours and its rule uses seconds.
    """
    query = queries.rate_of(scene.target, promql.selector(TOKENS, scene.labels))
    frame = thresholds.line(scene, query, "tokens")
    hourly = thresholds.newest(scene, frame["tokens"]) * _SECONDS_PER_HOUR
    words = Words(
        template="{now:rate} tokens are used ({hourly:number} per hour); the limit is {limit:rate}.",
        line="tokens",
        unit="per second",
        facts={"hourly": hourly},
    )
    return thresholds.level(scene, query, Limit(above=above), words)


def tokens_by_model(scene: Scene, *, above: float) -> Finding:
    """Which model uses most tokens?

    Tokens per second by model, highest first; `above` is per second.
    """
    words = Words(
        template="{beyond} of {all} models use more than {limit:rate} tokens; most uses {worst}: {now:rate}.",
        sound="None of the {all} models uses more than {limit:rate} tokens.",
        line="",
        unit="per second",
    )
    query = queries.rate_of(scene.target, promql.selector(TOKENS, scene.labels), by=("model",))
    column = "tokens per second"
    return thresholds.by_label(scene, query, by="model", above=above, words=words, column=column)


def tokens_per_request(scene: Scene, *, above_times: float = 2.0) -> Finding:
    """Does one request use more tokens than usual?

    Tokens over successful requests, compared with the usual value before the symptom began: a higher value
    means longer prompts or longer answers, not more users.
    """
    tokens = queries.rate_of(scene.target, promql.selector(TOKENS, scene.labels))
    succeeded = promql.selector("ai_chat_requests_total", {**scene.labels, "status": "success"})
    words = Words(
        template="One AI request uses {now:number} tokens; usual is {usual:number}.",
        line="tokens per request",
        unit="count",
    )
    query = f"{tokens} / ({queries.rate_of(scene.target, succeeded)} > 0)"
    return thresholds.change(scene, query, words, above_times=above_times)
