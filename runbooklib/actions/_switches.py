"""Settings of the site that change together: how a person is shown them, and how they are changed.

What is secret among them, by its name or by where its value comes from, is shown and bound by its tag.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runbooklib import settings
from runbooklib.actions import _programs, _settingsfile
from runbooklib.errors import ActionError, SourceError
from runbooklib.plans import Proposal
from runbooklib.redact import Depth, Redactor, tag
from runbooklib.remedy import Act, Seen, actions_of, may_write
from runbooklib.scene import Scene
from runbooklib.secretnames import sounds_secret
from runbooklib.sources.files import SYSTEM, Settings, bare
from runbooklib.target import Switch
from runbooklib.window import seconds_of

_MADE_ANEW = "The container is made anew: save its log first."
_LEAST_SECRET = 6


def _look(scene: Scene, switch: Switch) -> tuple[Settings, dict[str, str], dict[str, str]]:
    """The file as it is, what is to be set in it, and the tags of what is to be set from variables."""
    files = scene.sources.files
    found = files.settings(switch.file, switch.names, hidden=sorted(switch.set_from))
    if not switch.set_from:
        return found, dict(switch.set), {}
    of = files.tags(sorted(set(switch.set_from.values())))
    return found, dict(switch.set), {name: of[variable] for name, variable in switch.set_from.items()}


def switchable(scene: Scene, action: str) -> Seen:
    """The settings file as it is, and what would be set in it."""
    switch = may_write(actions_of(scene).switches.get(action), f"switches.{action}")
    found, values, tags = _look(scene, switch)
    if found.values == values | tags:
        raise ActionError(f"{switch.file} says so already", system=SYSTEM)
    identity: dict[str, Any] = {"file": switch.file, "sha256": found.sha256, "set": values, "set_from": tags}
    files = _programs.digests(scene, switch.then) if switch.then else {}
    return Seen(Path(switch.file).name, identity | {"then": list(switch.then), "files": files})


def perform(act: Act) -> str:
    """Set what the plan says, then run the command that puts it into effect.

    Raises ActionError, SourceError.
    """
    plan = act.plan
    switch = may_write(actions_of(act.scene).switches.get(plan.action), f"switches.{plan.action}")
    values = _values(switch, plan.identity)
    former = _settingsfile.change(Path(switch.file), plan.identity["sha256"], values, plan.fingerprint)
    done = f"set {', '.join(switch.names)} in {switch.file} (as it was: {former.copy})"
    if not switch.then:
        return f"{done}; it takes effect when the service is started anew"
    known = _redactor(switch, former)
    try:
        told = _programs.run(list(switch.then), plan.identity["files"], seconds_of(switch.within))
    except (ActionError, SourceError) as error:
        raise ActionError(
            f"{done}, but the command after it failed: {known.text(error.message, Depth.KNOWN)}",
            system=error.system,
            target=error.target,
            remedy=f"the file stays as it is: run the command by hand, or put {former.copy} back",
            is_outcome_known=getattr(error, "is_outcome_known", True),
        ) from None
    return f"{done}: {known.text(told, Depth.KNOWN)}" if told else done


def _values(switch: Switch, seen: Mapping[str, Any]) -> dict[str, str]:
    """What is to be set, secrets too, if it is what the plan says. Raises ActionError, NotConfiguredError."""
    secret = {name: settings.operators_value(variable) for name, variable in switch.set_from.items()}
    tags = {name: tag(value) for name, value in secret.items()}
    now = {"file": switch.file, "set": dict(switch.set), "set_from": tags, "then": list(switch.then)}
    if now != {name: seen[name] for name in now}:
        raise ActionError("the switch in the environment's file is another one now", system=SYSTEM)
    return switch.set | secret


def _redactor(switch: Switch, former: _settingsfile.Former) -> Redactor:
    """Knows the file's former secrets, which nobody else here knows: the command may print them."""
    found = [bare(text) for name, text in former.values if sounds_secret(name) or name in switch.set_from]
    # What is shorter, like "true", is no secret, and would blank half of what it says.
    return Redactor(value for value in found if len(value) >= _LEAST_SECRET)


def _switch_of(scene: Scene, action: str) -> Switch | None:
    """What may be switched here and now; None where it is for a person to do."""
    actions = scene.target.environment.actions
    return actions.switches.get(action) if actions and scene.window.is_live else None


def proposal(scene: Scene, action: str, *, title: str, by_hand: str, effect: str) -> Proposal:
    """How it is shown: as a diff where it may be done here, else as the command `by_hand`."""
    switch = _switch_of(scene, action)
    if switch is None:
        return Proposal(title, by_hand, effect, loses=_MADE_ANEW)
    copy, then = f"{switch.file}.before-FINGERPRINT", " ".join(switch.then)
    return Proposal(
        title,
        command=_diff(scene, switch),
        effect=effect if then else f"{effect} It takes effect when the service is started anew.",
        loses=_MADE_ANEW if then else "",
        undo=f"Put the copy back that is kept first, under the plan's fingerprint: cp {copy} {switch.file}; "
        + (f"then run that command again: {then}" if then else "then start the service anew."),
    )


def _diff(scene: Scene, switch: Switch) -> str:
    """The lines that would change, as a diff without its surroundings."""
    try:
        found, values, tags = _look(scene, switch)
    except SourceError as error:
        return f"# {switch.file} would be changed, but: {error.message}"
    lines = [f"--- {switch.file}", f"+++ {switch.file}"]
    for name, value in sorted((values | tags).items()):
        now = found.values[name]
        lines += [f"-{name}={now}"] * (now is not None and now != value)
        lines += [f"+{name}={value}"] * (now != value)
    # No colon or equals sign after the name: what stands there would be taken for the secret.
    lines += [f"# {variable} holds {name}" for name, variable in sorted(switch.set_from.items())]
    return "\n".join([*lines, *([f"# then: {' '.join(switch.then)}"] if switch.then else [])])
