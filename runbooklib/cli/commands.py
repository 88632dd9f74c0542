"""How help shows the commands, the page docs/commands.md, and errors about unknown commands and options."""

from typing import Any

from typer.core import TyperGroup

from runbooklib.errors import InputError, suggestion

# The panels of `runbook --help`, in their order, and the commands of each. A test holds that it is complete.
PANELS = {
    "Diagnose": ("list", "run", "batch", "replay"),
    "Act": ("approve", "actions", "verify-recovery"),
    "Evidence": ("verify", "seal", "export", "upload", "keygen"),
    "Write runbooks": ("new", "lint", "tidy", "text"),
    "JupyterLab": ("lab", "urls"),
}

_DOCUMENT_WIDTH = 78
_DOCUMENT_START = """# Commands

`make docs` writes this page from the help of the commands.
"""


def examples(*lines: str) -> str:
    """The end of a command's help: one example per line, which is never wrapped."""
    return "\n".join(("\b", "Examples:", *(f"  {line}" for line in lines)))


class CommandGroup(TyperGroup):
    """The commands in panels. Plain text: it needs no rich, and an example can be copied from it."""

    def list_commands(self, ctx: Any) -> list[str]:
        """All names: those of the panels in their order, then the hidden ones."""
        known = super().list_commands(ctx)
        shown = [name for names in PANELS.values() for name in names if name in known]
        return [*shown, *(name for name in known if name not in shown)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write each panel: a command and its whole first sentence, which is wrapped and never cut."""
        widest = max(map(len, self.list_commands(ctx)))
        for panel, names in PANELS.items():
            rows = [(name.ljust(widest), _summary(self.commands[name])) for name in names]
            with formatter.section(panel):
                formatter.write_dl(rows)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the first argument names. Raises InputError with the nearest name."""
        name = args[0]
        if name not in self.commands and not name.startswith("-") and not ctx.resilient_parsing:
            shown = [known for known in self.list_commands(ctx) if not self.commands[known].hidden]
            raise InputError(f"there is no command {name[:80]!r}", hint=suggestion(name, shown))
        return super().resolve_command(ctx, args)


def _summary(command: Any) -> str:
    """The first paragraph of a command's help, as one line."""
    return " ".join((command.help or "").partition("\n\n")[0].split())


def usage_error(error: Any) -> str:
    """A line for a wrong option or argument: what is wrong, the nearest option, and whose help to read.

    `error` is Typer's UsageError.
    """
    message = error.format_message().replace("Value error, ", "")  # pydantic's own prefix
    if hasattr(error, "possibilities"):  # only an unknown option has it
        options = [option for param in error.ctx.command.get_params(error.ctx) for option in param.opts]
        known = sorted(option for option in options if option.startswith("--"))
        message = f"there is no option {error.option_name[:80]!r} ({suggestion(error.option_name, known)})"
    command = error.ctx.command_path if error.ctx else "runbook"
    return f"{message} (see {command} --help)"


def document(app: Any) -> str:
    """docs/commands.md: the help of all visible commands. `app` is the Typer application."""
    from typer.main import get_command

    group: Any = get_command(app)
    context = group.make_context("runbook", [], resilient_parsing=True)
    parts = [_DOCUMENT_START, _help_block(group, context)]
    for panel, names in PANELS.items():
        parts.append(f"## {panel}\n")
        for name in names:
            command = group.commands[name]
            child = command.make_context(name, [], parent=context, resilient_parsing=True)
            parts.append(f"### runbook {name}\n\n{_help_block(command, child)}")
    return "\n".join(parts)


def _help_block(command: Any, context: Any) -> str:
    formatter = context.make_formatter()
    formatter.width = _DOCUMENT_WIDTH
    command.format_help(context, formatter)
    return f"```text\n{formatter.getvalue().rstrip()}\n```\n"
