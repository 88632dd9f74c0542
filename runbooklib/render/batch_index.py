"""An overview of several runs: one HTML page with relative links, and one table for a terminal."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote

from rich import box
from rich.table import Table
from rich.text import Text

from runbooklib.model.findings import Status
from runbooklib.render import html, sentences, terminal
from runbooklib.render.page import shell

FAILED = "FAILED"
_WORST_FIRST = (FAILED, "CRITICAL", "WARNING", "UNKNOWN", "OK")
_FAILED_STYLE = (
    "background:#3d444d;color:#fff;border-radius:4px;padding:1px 8px;font-weight:600;"
    "white-space:nowrap;font-size:12.5px"
)
_STYLE = """
body { max-width: 72rem; } p.about { opacity: .75; }
p.chips span { margin-right: .35rem; } p.chips > span { margin-right: 1.1rem; }
table.runs td.links { white-space: nowrap; padding-right: 0; }
table.runs { width: 100%; margin-top: 1rem; }
table.runs th { font-weight: 500; font-size: 12.5px; opacity: .7; border-bottom: 1px solid #8b949e66; }
table.runs td { padding: .55rem .9rem .55rem 0; vertical-align: top; border-bottom: 1px solid #8b949e33; }
table.runs td.number, table.runs th.number { text-align: right; white-space: nowrap;
  font-variant-numeric: tabular-nums; }
table.runs td.says { overflow-wrap: anywhere; min-width: 16rem; }
table.runs td.name { white-space: nowrap; font-weight: 600; }
details.earlier { margin-top: 2rem; font-size: 13px; } details.earlier summary { cursor: pointer; }
@media (max-width: 44rem) { table.runs, table.runs tbody, table.runs tr, table.runs td { display: block; }
  table.runs thead { display: none; } table.runs td { border: 0; padding: .1rem 0; }
  table.runs tr { border-bottom: 1px solid #8b949e66; padding: .6rem 0; }
  table.runs td.number { text-align: left; } }
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One run: `status` is the name of a Status or FAILED, `bundle` the name of its folder or empty.

    `headline` is that of the verdict, or the reason of the failure; `seconds` is the duration of the run.
    """

    alert: str
    service: str
    status: str
    headline: str
    seconds: float
    bundle: str
    has_pdf: bool = False


def index_page(rows: Sequence[Row], earlier: Sequence[str], environment: str, ended_at: datetime) -> str:
    """The page of a batch of runs; `earlier` are the names of the other bundles in the folder."""
    counted = Counter(row.status for row in rows)
    chips = "".join(f"<span>{_badge(s)} {counted[s]}</span>" for s in _WORST_FIRST if counted[s])
    about = f"{environment} · {len(rows)} runs · ended {sentences.time(ended_at)}".removeprefix(" · ")
    lines = "\n".join(_line(row) for row in _sort_rows(rows))
    body = (
        f'<h1>Runbooks</h1><p class="about">{html.text(about)}</p><p class="chips">{chips}</p>\n'
        '<table class="runs"><thead><tr><th scope="col">Verdict</th><th scope="col">Alert</th>'
        '<th scope="col">Service</th><th scope="col">Headline</th>'
        '<th scope="col" class="number">Duration</th><th scope="col">Evidence</th></tr></thead>\n'
        f"<tbody>{lines}</tbody></table>\n{_earlier_runs(earlier)}"
    )
    return shell("Runbooks", body, _STYLE)


def _sort_rows(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (_WORST_FIRST.index(row.status), row.alert, row.service))


def _badge(status: str) -> str:
    return (
        f'<span style="{_FAILED_STYLE}">! FAILED</span>' if status == FAILED else html.badge(Status[status])
    )


def _line(row: Row) -> str:
    links = [_link(row.bundle, "notebook.html", "page")] if row.bundle else ["none"]
    links += [_link(row.bundle, "notebook.pdf", "PDF")] if row.has_pdf else []
    return (
        f'<tr><td>{_badge(row.status)}</td><td class="name">{html.text(row.alert)}</td>'
        f'<td>{html.text(row.service)}</td><td class="says">{html.text(row.headline)}</td>'
        f'<td class="number">{row.seconds:.1f} s</td><td class="links">{" · ".join(links)}</td></tr>'
    )


def _link(bundle: str, file: str, label: str) -> str:
    return f'<a href="./{quote(bundle)}/{file}">{html.text(label)}</a>'


def _earlier_runs(bundles: Sequence[str]) -> str:
    if not bundles:
        return ""
    items = "".join(f"<li>{_link(name, 'notebook.html', name)}</li>" for name in bundles)
    summary = f"<summary>Earlier in this folder: {len(bundles)}</summary>"
    return f'<details class="earlier">{summary}<ul>{items}</ul></details>'


def line(row: Row) -> Text:
    """A finished run as one line of a terminal."""
    text = terminal.status(row.status)
    text.append(f"  {terminal.one_line(f'{row.alert} {row.service}')}  ", style="bold not reverse")
    text.append(terminal.one_line(row.headline), style="not bold not reverse dim")
    text.truncate(160, overflow="ellipsis")
    return text


def table(rows: Sequence[Row]) -> Table:
    """The runs, worst first."""
    overview = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("Alert", "Service", "Status"):
        overview.add_column(name, no_wrap=True)
    overview.add_column("Headline", ratio=1, overflow="fold")
    overview.add_column("Seconds", justify="right", no_wrap=True)
    overview.add_column("Bundle", overflow="fold")
    for row in _sort_rows(rows):
        texts = (row.alert, row.service, row.headline, f"{row.seconds:.1f}", row.bundle or "none")
        cells = [Text(terminal.one_line(text)) for text in texts]
        overview.add_row(*cells[:2], terminal.status(row.status), *cells[2:])
    return overview
