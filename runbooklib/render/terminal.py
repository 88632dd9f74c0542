"""The verdict and single findings in a terminal."""

from typing import Any

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from runbooklib.text import visible

_STYLES = {
    "OK": "bold green",
    "UNKNOWN": "bold magenta",
    "WARNING": "bold yellow",
    "CRITICAL": "bold red",
    "FAILED": "bold reverse",
}
_SIGNS = {"OK": "✓", "UNKNOWN": "?", "WARNING": "▲", "CRITICAL": "✖", "FAILED": "!"}


def status(name: str) -> Text:
    """A status, or FAILED, as a sign and a word."""
    return Text(f"{_SIGNS[name]} {name}", style=_STYLES[name])


def progress_line(status: str, check: str, says: str, seconds: float) -> Text:
    """One finding as one line; `seconds` is how long its check took."""
    line = Text(f"{_SIGNS[status]} ", style=_STYLES[status])
    line.append(f"{one_line(check):<24} ", style="default")
    line.append(one_line(says), style="dim")
    line.append(f"  {seconds:.1f}s", style="dim")
    line.truncate(160, overflow="ellipsis")
    return line


def answer(verdict: dict[str, Any]) -> Group:
    """The verdict, the causes with their findings, the checks without an answer, and the next steps."""
    status = verdict["status"]
    title = Text(f"{_SIGNS[status]} {status}  ", style=_STYLES[status])
    about = f"{verdict['alert']} · {verdict['service']} · {verdict['environment']}"
    title.append(one_line(about), style="bold")
    lines: list[RenderableType] = [title, _indent(verdict["headline"])]
    if verdict["onset"]:
        lines.append(_indent(f"since {verdict['onset'][:19].replace('T', ' ')} UTC", "dim"))
    for cause in verdict["causes"]:
        lines += _cause_lines(cause)
    unchanged = verdict.get("unchanged", ())
    lines += [Text("\nNot new, and not counted", style="bold")] if unchanged else []
    lines += [_indent(finding["says"]) for finding in unchanged]
    lines += _not_checked_lines(verdict["not_checked"])
    if verdict["next"]:
        lines.append(Text("\nNext", style="bold"))
        for proposal in verdict["next"][:2]:
            lines.append(_indent(proposal["title"]))
            lines.append(
                Padding(Text(one_line(proposal["command"]), style="cyan", overflow="fold"), (0, 0, 0, 4))
            )
    return Group(*lines)


def _cause_lines(cause: dict[str, Any]) -> list[RenderableType]:
    if cause["rank"] in ("unlikely", "cannot tell"):
        return [_indent(f"{cause['title']}: {cause['rank']}", "dim")]
    title = one_line(f"{cause['title']}: {cause['rank']}")
    lines: list[RenderableType] = [Text(f"\n{title}", style="bold")]
    sides = (("for", "green"), ("against", "red"), ("missing", "magenta"), ("not_counted", "dim"))
    for side, style in sides:
        for sign in cause.get(side, ()):
            line = Text(f"{side.replace('_', ' '):<7} ", style=style)
            line.append(one_line(sign["says"]), style="default")
            lines.append(Padding(line, (0, 0, 0, 2)))
    return lines


def _not_checked_lines(not_checked: list[dict[str, Any]]) -> list[RenderableType]:
    if not not_checked:
        return []
    lines: list[RenderableType] = [Text("\nNot checked", style="bold magenta")]
    return lines + [_indent(f"{finding['question']} {finding['says']}") for finding in not_checked]


def _indent(text: str, style: str = "default") -> Padding:
    return Padding(Text(one_line(text), style=style), (0, 0, 0, 2))


def one_line(text: str) -> str:
    """The text on one line, so that text from a log cannot imitate a line of this program."""
    return " ".join(visible(text).split("\n"))


def console(*, stderr: bool = False) -> Console:
    """A console that does not interpret markup or emoji codes in texts."""
    return Console(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=False)
