"""The AI provider, measured by the service that uses it."""

from runbooklib.checks import queries, thresholds
from runbooklib.checks.registry import check
from runbooklib.checks.thresholds import Threshold, Wording
from runbooklib.model.findings import Finding
from runbooklib.promql import build
from runbooklib.sources.context import Context

TOKENS = "ai_chat_tokens_total"
MIN_REQUESTS = 5.0
_SECONDS_PER_HOUR = 3600


@check
def ai_error_rate(context: Context, *, above: float, least_requests: float = MIN_REQUESTS) -> Finding:
    """What share of the requests to the AI provider fails?

    `above` is a ratio 0–1; UNKNOWN for fewer than `least_requests` in the rate window.
    """
    chats = queries.chats(context.target)
    error_types = _error_types(context)
    words = Wording(
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
    limit = Threshold(above=above, critical_above=above)
    return thresholds.share(
        context, chats.failed, chats.every, limit, words, what=chats.what, least=least_requests
    )


def _error_types(context: Context) -> str:
    """The error types that increase now, most frequent first."""
    errors = build.selector("ai_chat_errors_total", context.labels)
    query = queries.rate_of(context.target, errors, by=("error_type",))
    frame = context.sources.prometheus.instant(query, context.window.end)
    if frame.empty:
        return ""
    increasing = frame[frame["value"] > 0].sort_values("value", ascending=False)
    return ", ".join(increasing["error_type"].astype(str))


@check
def ai_response_time(context: Context, *, above: float, quantile: float = 0.95) -> Finding:
    """How long does the AI provider take to answer?

    The `quantile` (0–1) of the duration of requests to the provider; `above` is seconds.
    """
    name = f"P{quantile * 100:g}"
    words = Wording(
        template="The {name} duration of AI requests is {now:seconds}; the limit is {limit:seconds}.",
        line=name,
        unit="seconds",
        facts={"name": name},
    )
    return thresholds.quantile(
        context,
        queries.chat_durations(context.target),
        Threshold(above=above),
        words,
        q=quantile,
        what="AI requests",
    )


@check
def ai_load(context: Context, *, above_times: float = 2.0) -> Finding:
    """Are more AI requests sent than usual?

    Requests per second, compared with the usual value before the symptom began.
    """
    words = Wording(
        template="{now:rate} AI requests are sent; usual is {usual:rate}.",
        line="AI requests",
        unit="per second",
    )
    query = queries.rate_of(context.target, queries.chats(context.target).every)
    return thresholds.change(context, query, words, above_times=above_times)


@check
def ai_tokens(context: Context, *, above: float) -> Finding:
    """How many tokens are used?

    Tokens per second over the rate window; `above` is per second. The sentence gives the number per hour as
    well, since the alert's text uses hours and its rule uses seconds.
    """
    query = queries.rate_of(context.target, build.selector(TOKENS, context.labels))
    frame = thresholds.line(context, query, "tokens")
    hourly = thresholds.newest(context, frame["tokens"]) * _SECONDS_PER_HOUR
    words = Wording(
        template="{now:rate} tokens are used ({hourly:number} per hour); the limit is {limit:rate}.",
        line="tokens",
        unit="per second",
        facts={"hourly": hourly},
    )
    return thresholds.level(context, query, Threshold(above=above), words)


@check
def tokens_by_model(context: Context, *, above: float) -> Finding:
    """Which model uses most tokens?

    Tokens per second by model, highest first; `above` is per second.
    """
    words = Wording(
        template="{beyond} of {all} models use more than {limit:rate} tokens; most uses {worst}: {now:rate}.",
        sound="None of the {all} models uses more than {limit:rate} tokens.",
        line="",
        unit="per second",
    )
    query = queries.rate_of(context.target, build.selector(TOKENS, context.labels), by=("model",))
    column = "tokens per second"
    return thresholds.by_label(context, query, by="model", above=above, words=words, column=column)


@check
def tokens_per_request(context: Context, *, above_times: float = 2.0) -> Finding:
    """Does one request use more tokens than usual?

    Tokens over successful requests, compared with the usual value before the symptom began: a higher value
    means longer prompts or longer answers, not more users.
    """
    tokens = queries.rate_of(context.target, build.selector(TOKENS, context.labels))
    succeeded = build.selector("ai_chat_requests_total", {**context.labels, "status": "success"})
    words = Wording(
        template="One AI request uses {now:number} tokens; usual is {usual:number}.",
        line="tokens per request",
        unit="count",
    )
    query = f"{tokens} / ({queries.rate_of(context.target, succeeded)} > 0)"
    return thresholds.change(context, query, words, above_times=above_times)
