"""The start page: firing alerts, runbooks, recent evidence, and the systems that did not answer.

The page has no script, font or picture; the content security policy allows the style by its digest.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from runbooklib.model.findings import Status
from runbooklib.render import sentences
from runbooklib.render.html import text, without_formula

_CSS = """
:root { color-scheme: light dark; --ink: #1f2328; --faint: #59636e; --line: #d1d9e0; --ground: #fff;
  --link: #0550ae; --ok: #1B7F4D; --unknown: #6A5ACD; --warning: #B25E00; --critical: #B3261E; }
body { margin: 0 auto; max-width: 72rem; padding: 1.5rem; font: 15px/1.5 system-ui, sans-serif;
  color: var(--ink); background: var(--ground); }
h1 { font-size: 1.5rem; margin: 0; } h2 { font-size: 1.15rem; margin: 2rem 0 .4rem; }
a { color: var(--link); } a:focus-visible, input:focus-visible, button:focus-visible {
  outline: 3px solid var(--link); outline-offset: 2px; }
p { margin: .3rem 0; } .about { color: var(--faint); font-size: 13px; }
table { border-collapse: collapse; width: 100%; } th, td { text-align: left; vertical-align: top;
  padding: .45rem .9rem .45rem 0; border-bottom: 1px solid var(--line); overflow-wrap: anywhere; }
th { font-weight: 500; font-size: 12.5px; color: var(--faint); } td.time, td.name { white-space: nowrap; }
.badge { color: #fff; border-radius: 4px; padding: 1px 8px; font-weight: 600; font-size: 12.5px;
  white-space: nowrap; background: #3d444d; }
.OK { background: var(--ok); } .UNKNOWN { background: var(--unknown); }
.WARNING { background: var(--warning); } .CRITICAL { background: var(--critical); }
.open { font-weight: 600; } ul.not-checked { margin: .3rem 0; padding-left: 1.2rem; }
input, button { font: inherit; padding: .25rem .5rem; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --faint: #9da7b1; --line: #3d444d;
  --ground: #0d1117; --link: #6cb2ff; } }
@media (max-width: 44rem) { table, tbody, tr, td { display: block; } thead { display: none; }
  td { border: 0; padding: .1rem 0; } tr { border-bottom: 1px solid var(--line); padding: .5rem 0; } }
"""
_DIGEST = base64.b64encode(hashlib.sha256(_CSS.encode()).digest()).decode()
# The browser asks for the site's own icon; nothing else is loaded.
POLICY = (
    f"default-src 'none'; style-src 'sha256-{_DIGEST}'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'self'"
)
_SIGNS = {"OK": "✓", "UNKNOWN": "?", "WARNING": "▲", "CRITICAL": "✖"}


@dataclass(frozen=True, slots=True)
class AlertRow:
    """A firing alert. `link` opens its runbook (empty: none); `quiet` says what silences or inhibits it.

    `severity` is the label as the rule gives it, `labels` are the others.
    """

    alert: str
    severity: str
    says: str
    labels: str
    since: datetime | None
    quiet: str
    link: str


@dataclass(frozen=True, slots=True)
class RunbookRow:
    """One runbook, with the link that opens it."""

    alert: str
    title: str
    link: str


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run; `status` is a Status's name or another word, `link` leads to its page."""

    at: datetime
    alert: str
    service: str
    environment: str
    status: str
    headline: str
    link: str


@dataclass(frozen=True, slots=True)
class Board:
    """The content of the page. `firing` is None if Alertmanager did not answer. Links are URLs or paths.

    `environments` are names with their links; `refresh` is the reload interval in seconds (0: never), and
    `toggle` is the link that turns reloading on or off.
    """

    at: datetime
    environment: str
    environments: Sequence[tuple[str, str]]
    firing: Sequence[AlertRow] | None
    runbooks: Sequence[RunbookRow]
    searched: str
    runs: Sequence[RunRow]
    not_checked: Sequence[str]
    refresh: int
    toggle: str


def start_page(board: Board) -> str:
    """The page as HTML."""
    body = "\n".join(
        (
            f"<header><h1>Runbooks</h1>{_about(board)}</header><main>",
            _firing(board),
            _not_checked(board.not_checked),
            _runbooks(board),
            _runs(board.runs),
            "</main>",
        )
    )
    return _shell("Runbooks", body, board.refresh)


def refusal(reason: str, hint: str, home: str) -> str:
    """The page with the reason why a link is not opened, and what to do; `home` is the start page's URL."""
    body = (
        f"<main><h1>This cannot be opened</h1><p>{text(reason)}</p><p>{text(hint)}</p>"
        f'<p><a href="{text(home)}">All runbooks, and what fires now</a></p></main>'
    )
    return _shell("This cannot be opened", body, 0)


def _shell(title: str, body: str, refresh: int) -> str:
    again = f'<meta http-equiv="refresh" content="{refresh}">' if refresh else ""
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">{again}'
        f"<title>{text(title)}</title><style>{_CSS}</style></head>\n<body>\n{body}\n</body></html>\n"
    )


def _about(board: Board) -> str:
    others = " · ".join(
        f"<b>{text(name)}</b>" if name == board.environment else f'<a href="{text(link)}">{text(name)}</a>'
        for name, link in board.environments
    )
    again = f"asked again every {board.refresh} s" if board.refresh else "not asked again by itself"
    word = "stop" if board.refresh else "ask again by itself"
    return (
        f'<p class="about">Environment: {others or text(board.environment) or "none"}</p>'
        f'<p class="about">{sentences.time(board.at)} · {again} · '
        f'<a href="{text(board.toggle)}">{word}</a></p>'
    )


def _firing(board: Board) -> str:
    if board.firing is None:
        inner = f"<p>{_badge('UNKNOWN')} Whether anything fires could not be asked: see below.</p>"
    elif not board.firing:
        inner = "<p>Alertmanager holds no alert.</p>"
    else:
        rows = "".join(_alert_row(firing) for firing in board.firing)
        inner = _table(("Severity", "Alert", "Since", "What it says", "Labels"), rows)
    return f'<section aria-labelledby="firing"><h2 id="firing">Firing now</h2>{inner}</section>'


def _alert_row(firing: AlertRow) -> str:
    name = _cell_text(firing.alert or "(no name)")
    opened = (
        f'<a class="open" href="{text(firing.link)}">{name}</a>' if firing.link else f"{name} (no runbook)"
    )
    quiet = f'<div class="about">{text(firing.quiet)}</div>' if firing.quiet else ""
    return (
        f"<tr><td>{_severity(firing.severity)}</td>"
        f'<td class="name">{opened}{quiet}</td><td class="time">{_time(firing.since)}</td>'
        f'<td>{_cell_text(firing.says)}</td><td class="about">{_cell_text(firing.labels)}</td></tr>'
    )


def _severity(severity: str) -> str:
    """The label as a badge. The usual words have the colours of the statuses, all others a neutral one."""
    colour = {"critical": " CRITICAL", "warning": " WARNING"}.get(severity.lower(), "")
    word = _cell_text(severity)
    return f'<span class="badge{colour}">{word}</span>' if severity else ""


def _not_checked(reasons: Sequence[str]) -> str:
    if not reasons:
        return ""
    items = "".join(f"<li>{text(reason)}</li>" for reason in reasons)
    return (
        '<section aria-labelledby="not-checked"><h2 id="not-checked">Not checked</h2>'
        f'<ul class="not-checked">{items}</ul></section>'
    )


def _runbooks(board: Board) -> str:
    rows = "".join(
        f'<tr><td class="name"><a href="{text(runbook.link)}">{_cell_text(runbook.alert)}</a></td>'
        f"<td>{_cell_text(runbook.title)}</td></tr>"
        for runbook in board.runbooks
    )
    listed = _table(("Alert", "Runbook"), rows) if rows else "<p>None of that name.</p>"
    return (
        '<section aria-labelledby="all"><h2 id="all">All runbooks</h2>'
        f'<form method="get" role="search"><label for="q">Search</label> '
        f'<input id="q" name="q" type="search" maxlength="200" value="{text(board.searched)}"> '
        f'<input type="hidden" name="environment" value="{text(board.environment)}">'
        f"<button>Search</button></form>{listed}</section>"
    )


def _runs(runs: Sequence[RunRow]) -> str:
    rows = "".join(_run_row(run) for run in runs)
    heads = ("Time", "Verdict", "Alert", "Service", "What it says")
    inner = _table(heads, rows) if rows else "<p>None yet.</p>"
    return f'<section aria-labelledby="runs"><h2 id="runs">Recent evidence</h2>{inner}</section>'


def _run_row(run: RunRow) -> str:
    name = f'<a href="{text(run.link)}">{_cell_text(run.alert)}</a>' if run.link else _cell_text(run.alert)
    where = f'<div class="about">{text(run.environment)}</div>' if run.environment else ""
    return (
        f'<tr><td class="time">{_time(run.at)}</td><td>{_badge(run.status)}</td><td class="name">{name}</td>'
        f"<td>{_cell_text(run.service)}{where}</td><td>{_cell_text(run.headline)}</td></tr>"
    )


def _table(heads: Sequence[str], rows: str) -> str:
    head = "".join(f'<th scope="col">{text(name)}</th>' for name in heads)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _cell_text(content: str) -> str:
    """The text of a table's cell, which a reader may paste into a spreadsheet."""
    return without_formula(text(content))


def _badge(status: str) -> str:
    known = status in Status.__members__
    return (
        f'<span class="badge {status if known else ""}">{_SIGNS.get(status, "!")} {text(status[:40])}</span>'
    )


def _time(at: datetime | None) -> str:
    return f'<time datetime="{at.isoformat()}">{sentences.time(at)}</time>' if at else "unknown"
