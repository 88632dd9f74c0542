"""Whether the series that a finding rests on can be trusted. `@check` passes each finding through here.

The PromQL of the finding names its series, so no check has to ask. The series of a metrics page that several
workers share, and gauges that nothing sets, prove nothing: the finding becomes UNKNOWN with that reason.
"""

from dataclasses import replace

from runbooklib.checks.unset_gauges import GAUGES, Unset, unset_gauge
from runbooklib.checks.workers import several_workers
from runbooklib.errors import NotRecordedError, ParameterError
from runbooklib.model.findings import Finding, Status
from runbooklib.promql import build, reading
from runbooklib.promql.reading import Selector
from runbooklib.sources.context import Context

# Prometheus itself writes these series: they do not come from the service's page.
_WRITTEN_BY_PROMETHEUS = ("up", "scrape_", "ALERTS", "ALERTS_FOR_STATE")
_COUNTER_SUFFIXES = ("_total", "_count", "_sum", "_bucket")


def trusted(context: Context, finding: Finding) -> Finding:
    """The finding, or an UNKNOWN finding that says why its series cannot be trusted. Raises SourceError.

    In the replay of an older recording, which lacks the questions of this module, it is the finding itself.
    """
    if finding.status is Status.UNKNOWN or finding.source != "prometheus":
        return finding
    selected = _selected(finding.query)
    try:
        doubt = _doubt(context, finding, selected) if selected else None
    except NotRecordedError:
        return finding
    if doubt is None:
        return finding
    return replace(doubt, source=finding.source, query=finding.query, series=finding.series)


def _selected(query: str) -> list[Selector]:
    """The selectors of series that a service exports; none for what is not PromQL."""
    try:
        selectors = reading.selectors(query) if query else ()
    except ParameterError:
        return []
    return [
        selector
        for selector in selectors
        if selector.metric and not selector.metric.startswith(_WRITTEN_BY_PROMETHEUS)
    ]


def _doubt(context: Context, finding: Finding, selected: list[Selector]) -> Finding | None:
    mixed = several_workers(context)
    if mixed is not None and _rests_on_page(context, finding, selected):
        return mixed
    for selector in selected:
        unset = unset_gauge(context, selector) if selector.metric in GAUGES else None
        if unset is not None and not _stands_without(finding, unset):
            return unset.finding
    return None


def _stands_without(finding: Finding, unset: Unset) -> bool:
    """Whether the finding is right all the same.

    A sum that lacks an instance is too low: what is above the limit is above it. A gauge that stays at
    another value than 0 may be full since the start: only an OK cannot rest on it.
    """
    if not unset.is_zero:
        return finding.status is not Status.OK
    return not unset.is_everywhere and _is_above_limit(finding)


def _rests_on_page(context: Context, finding: Finding, selected: list[Selector]) -> bool:
    """Whether the series are those of the page that several workers share.

    A gauge of one of the workers that is above its limit is above it: it is left as it is.
    """
    if _is_above_limit(finding) and not any(_is_counted(selector) for selector in selected):
        return False
    series = [build.selector(selector.metric, context.labels) for selector in selected]
    return any(count != 0 for count in context.sources.prometheus.counts(series, context.window.end))


def _is_counted(selector: Selector) -> bool:
    return selector.range_seconds is not None or selector.metric.endswith(_COUNTER_SUFFIXES)


def _is_above_limit(finding: Finding) -> bool:
    """Whether the finding is one of a value above its limit."""
    if finding.status < Status.WARNING or finding.measured is None or finding.limit is None:
        return False
    return finding.measured > finding.limit
