"""Remedies for a dependency that fails."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from runbooklib import measures, queries
from runbooklib.actions import _programs, _settingsfile
from runbooklib.errors import ActionError, NoDataError, NotConfiguredError, SourceError
from runbooklib.plans import Proposal
from runbooklib.remedy import Act, Seen, actions_of, may_write, remedy
from runbooklib.scene import Scene
from runbooklib.window import seconds_of

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


def _switchable(scene: Scene, action: str) -> Seen:
    """The settings file as it is, and what would be set in it."""
    switch = may_write(actions_of(scene).switches.get(action), f"switches.{action}")
    found = scene.sources.files.settings(switch.file, sorted(switch.set))
    if all(found.values[name] == value for name, value in switch.set.items()):
        raise ActionError(f"{switch.file} says so already", system="files")
    identity: dict[str, Any] = {"file": switch.file, "sha256": found.sha256, "set": dict(switch.set)}
    files = _programs.digests(scene, switch.then) if switch.then else {}
    return Seen(Path(switch.file).name, identity | {"then": list(switch.then), "files": files})


def _switch(act: Act) -> str:
    scene, plan = act.scene, act.plan
    switch = may_write(actions_of(scene).switches.get(plan.action), f"switches.{plan.action}")
    seen = plan.identity
    if (switch.file, dict(switch.set), list(switch.then)) != (seen["file"], seen["set"], seen["then"]):
        raise ActionError("the switch in the environment's file is another one now", system="files")
    _settingsfile.change(Path(switch.file), seen["sha256"], dict(switch.set))
    done = f"set {', '.join(sorted(switch.set))} in {switch.file}"
    if not switch.then:
        return f"{done}; it takes effect when the service is started anew"
    try:
        told = _programs.run(list(switch.then), seen["files"], seconds_of(switch.within))
    except ActionError as error:
        raise ActionError(
            f"{done}, but the command after it failed: {error.message}",
            system=error.system,
            target=error.target,
            remedy="the file stays as it is: run the command by hand, or set it back",
            is_outcome_known=error.is_outcome_known,
        ) from None
    return f"{done}: {told}" if told else done


def _diff(scene: Scene, action: str) -> str:
    """The lines that would change, as a diff without its surroundings; empty where none is configured."""
    actions = scene.target.environment.actions
    switch = actions.switches.get(action) if actions and scene.window.is_live else None
    if switch is None:
        return ""
    try:
        found = scene.sources.files.settings(switch.file, sorted(switch.set))
    except SourceError as error:
        return f"{switch.file} cannot be read: {error.message}"
    lines = [f"--- {switch.file}", f"+++ {switch.file}"]
    for name, value in sorted(switch.set.items()):
        now = found.values[name]
        lines += [f"-{name}={now}"] * (now is not None and now != value)
        lines += [f"+{name}={value}"] * (now != value)
    return "\n".join([*lines, *([f"# then: {' '.join(switch.then)}"] if switch.then else [])])


def _undo(scene: Scene, action: str) -> str:
    actions = scene.target.environment.actions
    switch = actions.switches.get(action) if actions else None
    return f"Set {', '.join(sorted(switch.set))} back in {switch.file}." if switch else ""


@remedy(
    identify=lambda scene: _switchable(scene, "use_backup_provider"), perform=_switch, destroys=("docker",)
)
def use_backup_provider(scene: Scene) -> Proposal:
    """Let the service ask the backup provider."""
    return Proposal(
        title="Soon: the backup provider",
        command=_diff(scene, "use_backup_provider")
        or f"docker compose up --detach --no-deps {scene.target.service_name}",
        effect="After AI_PROVIDER_URL and its key were changed in .env: the backup answers.",
        loses="The container is made anew: save its log first.",
        undo=_undo(scene, "use_backup_provider"),
    )


@remedy(identify=lambda scene: _switchable(scene, "use_fallback_mode"), perform=_switch, destroys=("docker",))
def use_fallback_mode(scene: Scene) -> Proposal:
    """Let the service answer without the dependency."""
    return Proposal(
        title="Now: fallback mode",
        command=_diff(scene, "use_fallback_mode")
        or f"FALLBACK_MODE=true docker compose up --detach --no-deps {scene.target.service_name}",
        effect="The AI assistant answers that it is not available; everything else works again.",
        loses="The container is made anew: save its log first.",
        undo=_undo(scene, "use_fallback_mode"),
    )
