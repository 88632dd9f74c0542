"""Actions on a dependency that fails."""

from functools import partial
from urllib.parse import urlsplit

from runbooklib.actions import _env_file
from runbooklib.actions.action import action, text_only
from runbooklib.checks import queries, thresholds
from runbooklib.checks.workers import require_single_worker
from runbooklib.errors import NoDataError, NotConfiguredError
from runbooklib.model.plan import Proposal
from runbooklib.sources.context import Context

_NOT_MEASURED = "no AI request was measured"


@text_only
def look_at_dependency(context: Context) -> Proposal:
    """Request the dependency from this machine; changes nothing."""
    if not context.service.dependencies:
        raise NotConfiguredError("the service names no dependencies", system="dns")
    url = context.service.dependencies[0].url
    return Proposal(
        title="Request the dependency from this machine",
        command=f"curl --verbose --max-time 10 {url}",
        effect=f"Sends one request to {urlsplit(url).hostname}; changes nothing.",
    )


@text_only
def set_timeout(context: Context, *, quantile: float = 0.5, times: float = 3.0) -> Proposal:
    """Set a timeout for the AI provider; text only, with measured numbers. `quantile` is a ratio 0–1."""
    require_single_worker(context)
    window, end, prometheus = context.timing.rate_window, context.window.end, context.sources.prometheus
    histogram = queries.chat_durations(context.target)
    usual = thresholds.number(prometheus.instant(histogram.quantile(quantile, window), end), _NOT_MEASURED)
    bounds = [float(bound) for bound in prometheus.instant(histogram.bounds(), end)["le"] if bound != "+Inf"]
    if not bounds or usual >= max(bounds):
        raise NoDataError(
            "the usual response time is beyond the largest bucket of the histogram", system="prometheus"
        )
    return Proposal(
        title="Soon: a timeout for the AI provider",
        command=f"# timeout of a request to the AI provider: {usual * times:.3g} s",
        effect=f"P{quantile * 100:g} of the last {window} is {usual:.3g} s. With {times:g} times that as "
        "timeout, usual requests succeed, and slow ones fail early instead of blocking a worker.",
        loses="Responses that are slower than the timeout.",
        undo="Set the former timeout again.",
    )


@text_only
def break_circuit(context: Context, *, wait: str = "30s") -> Proposal:
    """Stop the requests to the AI provider for a time when it fails; text only, with measured numbers."""
    require_single_worker(context)
    window, end, prometheus = context.timing.rate_window, context.window.end, context.sources.prometheus
    chats = queries.chats(context.target)
    share = thresholds.number(prometheus.instant(queries.share_of(context.target, chats), end), _NOT_MEASURED)
    rate = thresholds.number(
        prometheus.instant(queries.rate_of(context.target, chats.every), end), _NOT_MEASURED
    )
    return Proposal(
        title="For good: a circuit breaker before the AI provider",
        command=f"# open when more than half of the requests of {window} fail; retry one after {wait}",
        effect=f"{share:.1%} of {rate:.3g} requests per second fail now. An open circuit breaker would fail "
        f"{rate * share:.3g} of them per second at once, without a request to the provider.",
        loses="Responses of the provider while the circuit breaker is open.",
        undo="Remove the circuit breaker, or raise its threshold.",
    )


_switched = partial(action, perform=_env_file.perform, destroys=("docker",))


@_switched(identify=lambda context: _env_file.identify(context, "use_backup_provider"))
def use_backup_provider(context: Context) -> Proposal:
    """Switch the service to the backup provider."""
    return _env_file.proposal(
        context,
        "use_backup_provider",
        title="Soon: the backup provider",
        by_hand=f"docker compose up --detach --no-deps {context.target.service_name}",
        effect="With the backup's AI_PROVIDER_URL and key in .env, the backup provider answers.",
    )


@_switched(identify=lambda context: _env_file.identify(context, "use_fallback_mode"))
def use_fallback_mode(context: Context) -> Proposal:
    """Switch the service to fallback mode, without the dependency."""
    return _env_file.proposal(
        context,
        "use_fallback_mode",
        title="Now: fallback mode",
        by_hand=f"FALLBACK_MODE=true docker compose up --detach --no-deps {context.target.service_name}",
        effect="The AI assistant answers that it is not available. Everything else works again.",
    )
