"""Actions on a dependency that fails."""

from functools import partial
from urllib.parse import urlsplit

from runbooklib.actions import _env_file
from runbooklib.actions.action import remedy
from runbooklib.checks import queries, thresholds
from runbooklib.errors import NoDataError, NotConfiguredError
from runbooklib.model.plan import Proposal
from runbooklib.sources.context import Scene

_NOT_MEASURED = "no AI request was measured"


def look_at_dependency(scene: Scene) -> Proposal:
    """Request the dependency from this machine; changes nothing."""
    if not scene.service.dependencies:
        raise NotConfiguredError("the service names no dependencies", system="dns")
    url = scene.service.dependencies[0].url
    return Proposal(
        title="Request the dependency from this machine",
        command=f"curl --verbose --max-time 10 {url}",
        effect=f"Sends one request to {urlsplit(url).hostname}; changes nothing.",
    )


def set_timeout(scene: Scene, *, quantile: float = 0.5, times: float = 3.0) -> Proposal:
    """Set a timeout for the AI provider; text only, with measured numbers. `quantile` is a ratio 0–1."""
    window, end, prometheus = scene.timing.rate_window, scene.window.end, scene.sources.prometheus
    histogram = queries.chat_durations(scene.target)
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


def break_circuit(scene: Scene, *, wait: str = "30s") -> Proposal:
    """Stop the requests to the AI provider for a time when it fails; text only, with measured numbers."""
    window, end, prometheus = scene.timing.rate_window, scene.window.end, scene.sources.prometheus
    chats = queries.chats(scene.target)
    share = thresholds.number(prometheus.instant(queries.share_of(scene.target, chats), end), _NOT_MEASURED)
    rate = thresholds.number(
        prometheus.instant(queries.rate_of(scene.target, chats.every), end), _NOT_MEASURED
    )
    return Proposal(
        title="For good: a circuit breaker before the AI provider",
        command=f"# open when more than half of the requests of {window} fail; retry one after {wait}",
        effect=f"{share:.1%} of {rate:.3g} requests per second fail now. An open circuit breaker would fail "
        f"{rate * share:.3g} of them per second at once, without a request to the provider.",
        loses="Responses of the provider while the circuit breaker is open.",
        undo="Remove the circuit breaker, or raise its threshold.",
    )


_switched = partial(remedy, perform=_env_file.perform, destroys=("docker",))


@_switched(identify=lambda scene: _env_file.identify(scene, "use_backup_provider"))
def use_backup_provider(scene: Scene) -> Proposal:
    """Switch the service to the backup provider."""
    return _env_file.proposal(
        scene,
        "use_backup_provider",
        title="Soon: the backup provider",
        by_hand=f"docker compose up --detach --no-deps {scene.target.service_name}",
        effect="With the backup's AI_PROVIDER_URL and key in .env, the backup provider answers.",
    )


@_switched(identify=lambda scene: _env_file.identify(scene, "use_fallback_mode"))
def use_fallback_mode(scene: Scene) -> Proposal:
    """Switch the service to fallback mode, without the dependency."""
    return _env_file.proposal(
        scene,
        "use_fallback_mode",
        title="Now: fallback mode",
        by_hand=f"FALLBACK_MODE=true docker compose up --detach --no-deps {scene.target.service_name}",
        effect="The AI assistant answers that it is not available. Everything else works again.",
    )
