"""Findings and the verdict as HTML fragments for a notebook's output.

They have inline styles only, no script, and no address to load; every text of a system is escaped.
Colours follow JupyterLab's theme. Each status has a word, a sign and a colour. `event_table` is the table of
events.
"""

import base64
import html
import math
import re
from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from runbooklib.model.event import Event
from runbooklib.model.findings import Finding, Status
from runbooklib.model.plan import Proposal
from runbooklib.model.verdict import RankedCause, Verdict
from runbooklib.render import chart_text, charts, sentences
from runbooklib.render.inert_html import literal
from runbooklib.render.sentences import event_text, headline, sentence, time
from runbooklib.render.unanswered import Unanswered, by_reason
from runbooklib.text import visible

_COLOURS = {
    Status.OK: "#1B7F4D",
    Status.UNKNOWN: "#6A5ACD",
    Status.WARNING: "#B25E00",
    Status.CRITICAL: "#B3261E",
}
_SIGNS = {Status.OK: "✓", Status.UNKNOWN: "?", Status.WARNING: "▲", Status.CRITICAL: "✖"}
_INK = "color:var(--jp-ui-font-color1,#1f2328)"
_FAINT = "color:var(--jp-ui-font-color2,#59636e)"
_FONT = "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:14px;line-height:1.5"
_LINE = "border:1px solid var(--jp-border-color2,#d1d9e0)"
_MONO = "font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:12.5px"
_SMALL = "padding:0 6px;font-size:12px"
_MAX_ROWS = 10
_MAX_LISTED = 200

# Text that begins with a sign and is not a formula: a number with its unit, or only signs.
_QUANTITY = re.compile(
    r"\s*[+-](?:[\d.,]+(?:e[+-]?\d+)?\s?[%\w]{0,8}(?:/s)?|inf(?:inity)?|-*)\s*", re.IGNORECASE
)


def text(value: object) -> str:
    """Any value as text that cannot be markup."""
    return html.escape(visible(str(value)))


def without_formula(cell: str) -> str:
    """The text of a table's cell, with an apostrophe if a spreadsheet would execute it as a formula."""
    begins = cell.lstrip()[:1]
    return (
        f"'{cell}"
        if begins and begins in "=+-@\uff1d\uff0b\uff0d\uff20" and not _QUANTITY.fullmatch(cell)
        else cell
    )


def badge(status: Status) -> str:
    """The status as sign and word on its colour."""
    return _tag(f"{_SIGNS[status]} {status.name}", status, "padding:1px 8px;font-size:12.5px")


def _tag(word: str, status: Status, shape: str) -> str:
    """A white word on the status' colour: as text colours these are too dark for a dark theme."""
    style = f"background:{_COLOURS[status]};color:#fff;border-radius:4px;font-weight:600;white-space:nowrap"
    return f'<span style="{style};{shape}">{word}</span>'


def status_line(message: str) -> str:
    """A line that a screen reader reads out when it changes."""
    return literal(f'<div role="status">{text(message)}</div>')


def finding_card(
    finding: Finding, marks: Sequence[tuple[datetime, str]] = (), *, is_resumed: bool = False
) -> str:
    """One finding: sentence, table, chart, source and query. `is_resumed`: it is from the interrupted run."""
    inner = [f"<div>{badge(finding.status)} <span>{text(sentence(finding))}</span></div>"]
    if finding.rows is not None and len(finding.rows):
        inner.append(table(finding.rows))
    if finding.series is not None and not finding.series.dropna(how="all").empty:
        inner.append(_chart(finding, marks))
    inner.append(_source_line(finding, is_resumed=is_resumed))
    style = (
        f"border-left:4px solid {_COLOURS[finding.status]};padding:4px 0 4px 12px;margin:4px 0;{_FONT};{_INK}"
    )
    return f'<div style="{style}">{"".join(inner)}</div>'


def _chart(finding: Finding, marks: Sequence[tuple[datetime, str]]) -> str:
    marks = [*marks, *finding.marks]
    data = base64.b64encode(charts.png(finding, marks)).decode()
    happened = chart_text.chart_marks(finding, marks)
    rows = pd.DataFrame([{"marked at": sentences.time(at), "": word} for at, word in happened])
    return (
        f'<img src="data:image/png;base64,{data}" alt="{text(chart_text.alt_text(finding, marks))}" '
        'style="max-width:100%;margin-top:6px;border-radius:4px;background:#fff">'
        f'<details><summary style="cursor:pointer;{_FAINT};font-size:12px">numbers</summary>'
        f"{table(chart_text.numbers(finding))}{table(rows, most=_MAX_LISTED) if happened else ''}</details>"
    )


def _source_line(finding: Finding, *, is_resumed: bool) -> str:
    parts = [text(finding.source)] if finding.source else []
    if finding.since:
        parts.append(f"since {sentences.time(finding.since)}")
    if finding.asked_at:
        resumed = ", and resumed since" if is_resumed else ""
        parts.append(f"asked {sentences.time(finding.asked_at)}{resumed}")
    if not finding.is_replayable:
        parts.append("the answer was too large to record: this cannot be replayed")
    line = " · ".join(parts)
    hint = finding.facts.get("hint")
    hint = f"<div>{text(hint)}</div>" if hint else ""
    query = (
        f'<details style="display:inline-block;margin-left:8px"><summary style="cursor:pointer">query'
        f'</summary><code style="{_MONO};white-space:pre-wrap">{text(finding.query)}</code></details>'
        if finding.query
        else ""
    )
    return f'{hint}<div style="{_FAINT};font-size:12px">{line}{query}</div>'


def table(frame: pd.DataFrame, *, most: int = _MAX_ROWS) -> str:
    """A small table; columns are formatted by the unit in their names (share, seconds, bytes, per second)."""
    cell = f"padding:2px 12px 2px 0;text-align:left;vertical-align:top;{_INK}"
    head = "".join(
        f'<th scope="col" style="{cell};{_FAINT};font-weight:500">{without_formula(text(c))}</th>'
        for c in frame.columns
    )
    body = "".join(
        "<tr style='background:none'>"
        + "".join(f'<td style="{cell}">{_table_cell(str(c), row[c])}</td>' for c in frame.columns)
        + "</tr>"
        for _, row in frame.head(most).iterrows()
    )
    more = (
        f'<div style="{_FAINT};font-size:12px">and {len(frame) - most} more</div>'
        if len(frame) > most
        else ""
    )
    style = "border-collapse:collapse;margin:6px 0;font-size:13px;border:none"
    return f'<table style="{style}"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{more}'


def listing(title: str, frame: pd.DataFrame) -> str:
    """A titled table of site settings; "none known" if it is empty."""
    heading = f"<b>{text(title)}</b>" if title else ""
    inner = table(frame, most=_MAX_LISTED) if len(frame) else f' <span style="{_FAINT}">none known</span>'
    return f'<div style="{_FONT};{_INK}">{heading}{inner}</div>'


def _table_cell(column: str, value: object) -> str:
    if column == "link" and str(value).startswith(("http://", "https://")):
        return f'<a href="{text(value)}" target="_blank" rel="noopener noreferrer">{text(value)}</a>'
    if isinstance(value, pd.Timestamp):
        return text("" if pd.isna(value) else sentences.time(value.to_pydatetime()))
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if isinstance(value, int | float) and not isinstance(value, bool):
        number = float(value)
        if math.isinf(number):
            return sentences.fact_text(number)
        if column.endswith("share"):
            return sentences.percent(number)
        if column.endswith("per second"):
            return sentences.rate(number)
        if column.endswith("seconds"):
            return sentences.seconds(number)
        if column.endswith("bytes"):
            return sentences.size(number)
        return f"{int(number)}" if number == int(number) else sentences.number(number)
    return without_formula(text(value))


def verdict_card(verdict: Verdict, about: str, *, is_replay: bool = False) -> str:
    """The verdict, since when, its causes with their findings, the next command, the unanswered checks.

    `about` is a line with the alert, the service and the window.
    """
    colour = _COLOURS[verdict.status]
    since = f" · <b>since {text(sentences.time(verdict.onset))}</b>" if verdict.onset else ""
    replayed = " · <b>replayed from a recording</b>" if is_replay else ""
    answer = f"{badge(verdict.status)} {text(headline(verdict))}"
    parts = [
        f'<div style="font-size:17px;font-weight:600">{answer}</div>',
        f'<div style="{_FAINT};font-size:12.5px;margin:2px 0 8px">{text(about)}{since}{replayed}</div>',
        _causes(verdict),
        _next_steps(verdict.proposals, may_act=not is_replay),
        _unchanged(verdict.unchanged),
        _not_checked(verdict.not_checked),
    ]
    box = f"{_LINE};border-top:5px solid {colour};border-radius:6px;padding:12px 16px;margin:4px 0"
    style = f"{box};{_FONT};{_INK}"
    return f'<div style="{style}" role="status">{"".join(parts)}</div>'


def _causes(verdict: Verdict) -> str:
    if not verdict.causes:
        return ""
    supported = "".join(_supported_cause(ranked_cause) for ranked_cause in verdict.supported_causes)
    others = "; ".join(
        f"{text(ranked_cause.cause.title)}: {ranked_cause.rank.value}"
        for ranked_cause in verdict.causes
        if not ranked_cause.is_supported
    )
    tail = f'<div style="{_FAINT};font-size:13px">{others}</div>' if others else ""
    return f'<div style="margin-top:6px">{supported}{tail}</div>'


def _supported_cause(ranked_cause: RankedCause) -> str:
    lines = [
        *(("for", sign, Status.OK) for sign in ranked_cause.speaks_for),
        *(("against", sign, Status.CRITICAL) for sign in ranked_cause.speaks_against),
        *(("came after", sign, Status.CRITICAL) for sign in ranked_cause.came_after),
        *(("missing", sign, Status.UNKNOWN) for sign in ranked_cause.missing),
        *(("not counted", sign, Status.UNKNOWN) for sign in ranked_cause.not_counted),
    ]
    items = "".join(
        f'<li style="margin:1px 0">{_tag(word, colour, _SMALL)} {text(sentence(sign))}</li>'
        for word, sign, colour in lines
    )
    points_for, points_against = ranked_cause.points_for, ranked_cause.points_against
    points = f"({points_for} for, {points_against} against, {len(ranked_cause.missing)} missing)"
    rank = f'{ranked_cause.rank.value} <span style="{_FAINT};font-size:12.5px">{points}</span>'
    summary = f'<summary style="cursor:pointer"><b>{text(ranked_cause.cause.title)}</b> — {rank}</summary>'
    signs = f'<ul style="margin:2px 0 4px;padding-left:20px;font-size:13px">{items}</ul>'
    return f'<details open style="margin-bottom:4px">{summary}{signs}</details>'


def _next_steps(proposals: Sequence[Proposal], *, may_act: bool) -> str:
    if not proposals:
        return ""
    return f'<div style="margin-top:6px"><b>Next</b>{proposal_lines(proposals[:2], may_act=may_act)}</div>'


def proposal_lines(proposals: Sequence[Proposal], *, may_act: bool = True) -> str:
    """The proposals: title, command, effect and loss; with `may_act` also how to approve each."""
    ground = "background:var(--jp-layout-color2,#f3f4f6);padding:4px 8px;border-radius:4px"
    code = f"display:block;{ground};{_MONO};{_INK};white-space:pre-wrap"
    return "".join(
        f'<div style="margin:4px 0;{_FONT};{_INK}"><div>{text(p.title)}</div>'
        + (f'<code style="{code}">{text(p.command)}</code>' if p.command else "")
        + f'<div style="{_FAINT};font-size:12.5px">{text(p.effect)} '
        + (f"Loses: {text(p.loses)} " if p.loses else "")
        + (f"Undo: {text(p.undo)}" if p.undo else "")
        + f"</div>{_approval(p) if may_act else ''}</div>"
        for p in proposals
    )


def _approval(proposal: Proposal) -> str:
    """How to approve the proposal, or why this is not possible."""
    if proposal.blocked:
        line = f"Cannot be approved: {text(proposal.blocked)}"
    elif proposal.plan:
        line = (
            f'To do it: <code style="{_MONO}">runbook approve EVIDENCE {text(proposal.plan.action)}</code> '
            f"(plan {text(proposal.plan.fingerprint)})"
        )
    else:
        return ""
    return f'<div style="{_FAINT};font-size:12.5px">{line}</div>'


def _unchanged(findings: Sequence[Finding]) -> str:
    """The problems that were the same before the symptom began."""
    lines = "".join(f'<li style="margin:0">{text(sentence(f))}</li>' for f in findings)
    listed = f'<ul style="margin:2px 0;padding-left:20px;font-size:13px">{lines}</ul>'
    return f'<div style="margin-top:6px">Not new, and not counted{listed}</div>' if findings else ""


def _not_checked(findings: Sequence[Finding]) -> str:
    if not findings:
        style = f"{_FAINT};font-size:13px;margin-top:6px"
        return f'<div style="{style}">Everything that was asked was answered.</div>'
    lines = "".join(_unanswered_line(group) for group in by_reason(findings))
    return (
        f'<div style="margin-top:6px">{_tag("Not checked", Status.UNKNOWN, _SMALL)}'
        f'<ul style="margin:2px 0;padding-left:20px;font-size:13px">{lines}</ul></div>'
    )


def _unanswered_line(group: Unanswered) -> str:
    """The reason and how to get an answer, and below it the questions that have none."""
    says = group.says if group.says.endswith((".", "!", "?", "…")) else f"{group.says}."
    hint = f" To get an answer: {text(group.hint)}." if group.hint else ""
    questions = text(" ".join(group.questions))
    return f'<li style="margin:0">{text(says)}{hint} <span style="{_FAINT}">{questions}</span></li>'


def section_card(title: str, status: Status, findings: Sequence[Finding]) -> str:
    """Several findings of one section as a list."""
    lines = "".join(
        f'<li style="margin:3px 0;list-style:none">{badge(f.status)} <b>{text(f.question)}</b> '
        f"{text(sentence(f))}</li>"
        for f in findings
    )
    head = f"<div><b>{text(title)}</b> {badge(status)}</div>"
    return f'<div style="{_FONT};{_INK}">{head}<ul style="padding-left:4px">{lines}</ul></div>'


def event_table(events: Sequence[Event]) -> pd.DataFrame:
    """Columns: at (text, UTC; a dash if it is unknown), what, source."""
    rows = [
        {
            "at": time(event.at) if event.at else "–",
            "what": event_text(event),
            "source": event.source,
        }
        for event in events
    ]
    return pd.DataFrame(rows, columns=["at", "what", "source"])
