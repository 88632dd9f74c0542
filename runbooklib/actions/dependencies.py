"""Remedies for a dependency that fails."""

from urllib.parse import urlsplit

from runbooklib import measures, queries
from runbooklib.actions import _switches
from runbooklib.errors import NoDataError, NotConfiguredError
from runbooklib.plans import Proposal
from runbooklib.remedy import remedy
from runbooklib.scene import Scene

_NOT_MEASURED = "no AI request was measured"


def look_at_dependency(scene: Scene) -> Proposal:
    """Look at the dependency from this machine."""
    if not scene.service.dependencies:
        raise NotConfiguredError("the service names no dependencies", system="dns")
    url = scene.service.dependencies[0].url
    return Proposal(
        title="See it from this machine",
        command=f"curl --verbose --max-time 10 {url}",
        effect=f"Asks {urlsplit(url).hostname} once; changes nothing.",
    )


def set_timeout(scene: Scene, *, quantile: float = 0.5, times: float = 3.0) -> Proposal:
    """Give up on the AI provider in time; a text, with what was measured. `quantile` is a ratio 0–1."""
    window, end, ask = scene.timing.rate_window, scene.window.end, scene.sources.prometheus
    histogram = queries.chat_durations(scene.target)
    usual = measures.number(ask.instant(histogram.quantile(quantile, window), end), _NOT_MEASURED)
    bounds = [float(one) for one in ask.instant(histogram.bounds(), end)["le"] if one != "+Inf"]
    if not bounds or usual >= max(bounds):
        raise NoDataError("the usual answer takes longer than the histogram can tell", system="prometheus")
    name = f"P{quantile * 100:g}"
    return Proposal(
        title="Soon: a timeout for the AI provider",
        command=f"# timeout of a request to the AI provider: {usual * times:.3g} s",
        effect=f"{name} is {usual:.3g} s in the last {window}; {times:g} times that lets usual answers "
        "through, and what is slower fails early instead of holding a worker.",
        loses="Answers that would have come later.",
        undo="The former timeout.",
    )


def break_circuit(scene: Scene, *, wait: str = "30s") -> Proposal:
    """Ask the AI provider no more for a while when it fails; a text, with what was measured."""
    window, end, ask = scene.timing.rate_window, scene.window.end, scene.sources.prometheus
    chats = queries.chats(scene.target)
    share = measures.number(ask.instant(queries.share_of(scene.target, chats), end), _NOT_MEASURED)
    rate = measures.number(ask.instant(queries.rate_of(scene.target, chats.every), end), _NOT_MEASURED)
    return Proposal(
        title="For good: a circuit breaker before the AI provider",
        command=f"# open when more than half of the requests of {window} fail; try one again after {wait}",
        effect=f"{share:.1%} of {rate:.3g} requests a second fail now: open, it would answer "
        f"{rate * share:.3g} of them at once, and leave the provider alone.",
        loses="Answers that the provider would have given while it is open.",
        undo="Take it out, or raise the share.",
    )


@remedy(
    identify=lambda scene: _switches.switchable(scene, "use_backup_provider"),
    perform=_switches.perform,
    destroys=("docker",),
)
def use_backup_provider(scene: Scene) -> Proposal:
    """Let the service ask the backup provider."""
    return _switches.proposal(
        scene,
        "use_backup_provider",
        title="Soon: the backup provider",
        by_hand=f"docker compose up --detach --no-deps {scene.target.service_name}",
        effect="After AI_PROVIDER_URL and its key were changed in .env: the backup answers.",
    )


@remedy(
    identify=lambda scene: _switches.switchable(scene, "use_fallback_mode"),
    perform=_switches.perform,
    destroys=("docker",),
)
def use_fallback_mode(scene: Scene) -> Proposal:
    """Let the service answer without the dependency."""
    return _switches.proposal(
        scene,
        "use_fallback_mode",
        title="Now: fallback mode",
        by_hand=f"FALLBACK_MODE=true docker compose up --detach --no-deps {scene.target.service_name}",
        effect="The AI assistant answers that it is not available; everything else works again.",
    )
