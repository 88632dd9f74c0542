"""Settings of an .env file that change together: how they are shown to a person, and how they are changed.

A setting that is secret, by its name or by the source of its value, is shown and approved by its tag.

Changes an .env file atomically (temporary file, sync, rename); owner and mode stay.

First the file is copied beside itself, readable by its owner only: its former content is stored nowhere else.
"""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runbooklib import files
from runbooklib.actions import _scripts
from runbooklib.actions.action import ApprovedAction, TargetState, require_actions, require_writable
from runbooklib.config import site_secrets
from runbooklib.config.environment import Switch
from runbooklib.errors import ActionError, SourceError
from runbooklib.model.plan import Proposal
from runbooklib.model.window import seconds_of
from runbooklib.redact.redactor import Depth, Redactor, tag
from runbooklib.redact.secret_names import sounds_secret
from runbooklib.sources.context import Context
from runbooklib.sources.site_files import SYSTEM, Settings, bare, read, settings_in, text_of, with_settings
from runbooklib.text import filled

_LOG_IS_LOST = "The container is recreated; its log is lost. Save the log first."
_EFFECT_LATER = "{effect} It takes effect when the service is restarted."
_UNDO_WITH_COMMAND = (
    "Restore the copy that is written first, named after the plan's fingerprint: cp {copy} {file}; "
    "then run that command again: {command}"
)
_UNDO = (
    "Restore the copy that is written first, named after the plan's fingerprint: cp {copy} {file}; "
    "then restart the service."
)
_MIN_SECRET_LENGTH = 6


def _read(context: Context, switch: Switch) -> tuple[Settings, dict[str, str], dict[str, str]]:
    """The file's settings now, the values to set, and the tags of the secret values to set."""
    files = context.sources.files
    current = files.settings(switch.file, switch.names, hidden=sorted(switch.set_from))
    if not switch.set_from:
        return current, dict(switch.set), {}
    tags = files.tags(sorted(set(switch.set_from.values())))
    return current, dict(switch.set), {name: tags[variable] for name, variable in switch.set_from.items()}


def identify(context: Context, action: str) -> TargetState:
    """The .env file as it is, and what would be set in it."""
    switch = _require_switch(context, action)
    current, values, tags = _read(context, switch)
    if current.values == values | tags:
        raise ActionError(f"{switch.file} already has these settings", system=SYSTEM)
    identity: dict[str, Any] = {
        "file": switch.file,
        "sha256": current.sha256,
        "set": values,
        "set_from": tags,
    }
    files = _scripts.digests(context, switch.then) if switch.then else {}
    return TargetState(Path(switch.file).name, identity | {"then": list(switch.then), "files": files})


def _require_switch(context: Context, action: str) -> Switch:
    return require_writable(require_actions(context).switches.get(action), f"switches.{action}")


def perform(approved: ApprovedAction) -> str:
    """Set the approved values, then run the command that puts them into effect.

    Raises ActionError, SourceError.
    """
    plan = approved.plan
    switch = _require_switch(approved.context, plan.action)
    values = _values(switch, plan.identity)
    former = change_file(Path(switch.file), plan.identity["sha256"], values, plan.fingerprint)
    names = ", ".join(switch.names)
    if not switch.then:
        return f"set {names} in {switch.file} (copy: {former.copy}); it takes effect at the next restart"
    redactor = _redactor(switch, former)
    try:
        output = _scripts.run(list(switch.then), plan.identity["files"], seconds_of(switch.within))
    except (ActionError, SourceError) as error:
        raise ActionError(
            f"set {names} in {switch.file} (copy: {former.copy}), but the command after it failed: "
            f"{redactor.text(error.message, Depth.KNOWN)}",
            system=error.system,
            target=error.target,
            hint=f"the file stays changed: run the command by hand, or restore {former.copy}",
            is_outcome_known=getattr(error, "is_outcome_known", True),
        ) from None
    if not output:
        return f"set {names} in {switch.file} (copy: {former.copy})"
    return f"set {names} in {switch.file} (copy: {former.copy}): {redactor.text(output, Depth.KNOWN)}"


def _values(switch: Switch, approved: Mapping[str, Any]) -> dict[str, str]:
    """The values to set, secrets included, if they are those of the plan.

    Raises ActionError, NotConfiguredError.
    """
    secrets = {name: site_secrets.operators_value(variable) for name, variable in switch.set_from.items()}
    tags = {name: tag(value) for name, value in secrets.items()}
    current = {"file": switch.file, "set": dict(switch.set), "set_from": tags, "then": list(switch.then)}
    if current != {name: approved[name] for name in current}:
        raise ActionError(
            "the switch in the environment's file has changed since the proposal", system=SYSTEM
        )
    return switch.set | secrets


def _available_switch(context: Context, action: str) -> Switch | None:
    """The switch, if the action can be performed here and now."""
    actions = context.target.environment.actions
    return actions.switches.get(action) if actions and context.window.is_live else None


def proposal(context: Context, action: str, *, title: str, by_hand: str, effect: str) -> Proposal:
    """A proposal that shows a diff if the action can be performed here, else the command `by_hand`."""
    switch = _available_switch(context, action)
    if switch is None:
        return Proposal(title, by_hand, effect, loses=_LOG_IS_LOST)
    command = " ".join(switch.then)
    undo = _UNDO_WITH_COMMAND if command else _UNDO
    return Proposal(
        title,
        command=_diff(context, switch),
        effect=effect if command else filled(_EFFECT_LATER, effect=effect),
        loses=_LOG_IS_LOST if command else "",
        undo=filled(undo, copy=f"{switch.file}.before-FINGERPRINT", file=switch.file, command=command),
    )


def _diff(context: Context, switch: Switch) -> str:
    """The lines that would change, as a diff without context."""
    try:
        current, values, tags = _read(context, switch)
    except SourceError as error:
        return f"# {switch.file} cannot be changed: {error.message}"
    lines = [f"--- {switch.file}", f"+++ {switch.file}"]
    for name, value in sorted((values | tags).items()):
        now = current.values[name]
        lines += [f"-{name}={now}"] * (now is not None and now != value)
        lines += [f"+{name}={value}"] * (now != value)
    # No colon or equals sign after the name: the redactor would take the next word for the secret.
    lines += [f"# {variable} holds {name}" for name, variable in sorted(switch.set_from.items())]
    return "\n".join([*lines, *([f"# then: {' '.join(switch.then)}"] if switch.then else [])])


@dataclass(frozen=True, slots=True)
class FormerFile:
    """The file before the change: the path of its copy, and its settings, which may be secret."""

    copy: Path
    values: list[tuple[str, str]] = field(repr=False)


def _redactor(switch: Switch, former: FormerFile) -> Redactor:
    """A redactor that knows the file's former secrets: the command may print them."""
    secrets = [bare(text) for name, text in former.values if sounds_secret(name) or name in switch.set_from]
    # A short value like "true" is not a secret, and would blank ordinary words.
    return Redactor(value for value in secrets if len(value) >= _MIN_SECRET_LENGTH)


def change_file(path: Path, sha256: str, values: dict[str, str], suffix: str) -> FormerFile:
    """Set the values in the .env file, if its content still has that digest.

    The copy's name ends in `.before-` and the suffix. Raises ActionError, SourceError.
    """
    address: dict[str, Any] = {"system": SYSTEM, "target": str(path)}
    content = read(path)
    if hashlib.sha256(content).hexdigest() != sha256:
        raise ActionError(
            "has changed since the action was proposed", **address, hint="run the runbook again"
        )
    if any("\n" in value or "\r" in value for value in values.values()):
        raise ActionError("a setting cannot contain a line break", **address)
    file, text = path.resolve(), text_of(content, str(path))
    copy, status = file.with_name(f"{file.name}.before-{suffix}"), file.stat()
    owner = (status.st_uid, status.st_gid)
    _write_copy(copy, content, owner, address)
    try:
        files.replace(file, with_settings(text, values).encode(), status.st_mode & 0o777, owner)
    except OSError as error:
        with suppress(OSError):
            copy.unlink()  # nothing was changed, and the copy may hold secrets
        raise ActionError(f"cannot be written: {error.strerror}", **address) from None
    return FormerFile(copy, settings_in(text))


def _write_copy(copy: Path, content: bytes, owner: tuple[int, int], address: dict[str, Any]) -> None:
    """Write the copy and sync it. Raises ActionError."""
    try:
        files.write_new(copy, content, owner=owner)
        files.sync(copy.parent)
    except FileExistsError:
        raise ActionError(
            f"its copy {copy.name} already exists", **address, hint="see what it holds"
        ) from None
    except OSError as error:
        with suppress(OSError):
            copy.unlink()
        raise ActionError(f"cannot be copied first: {error.strerror}", **address) from None
