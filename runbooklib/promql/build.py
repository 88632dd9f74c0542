"""PromQL builder: pure functions from names and values to an expression.

Every label value is escaped. Values from outside are only used in equality matchers.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from runbooklib.errors import ParameterError

_METRIC = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
# Since Prometheus 3, names may contain any character. These are the forms of OpenTelemetry and Kubernetes.
_UTF8_METRIC = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*([./][a-zA-Z0-9_]+)+")
_UTF8_LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_./-]*")
_REGEX_SPECIAL = re.compile(r"([\\.+*?()|\[\]{}^$])")


def quoted(value: str) -> str:
    r"""The text as a PromQL string, with backslash, quote and line breaks escaped."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def literal(value: str) -> str:
    """An RE2 pattern that matches exactly this text."""
    return _REGEX_SPECIAL.sub(r"\\\1", value)


def selector(
    metric: str,
    labels: Mapping[str, str] | None = None,
    *,
    matching: Mapping[str, str] | None = None,
    none_of: Mapping[str, Iterable[str]] | None = None,
) -> str:
    """One instant vector selector.

    `labels` become equality matchers, `matching` are RE2 patterns of this library, `none_of` excludes literal
    values. Names with dots, slashes and dashes (Prometheus 3) are quoted. Raises ParameterError for other
    names that PromQL does not allow.
    """
    if not (_METRIC.fullmatch(metric) or _UTF8_METRIC.fullmatch(metric)):
        raise ParameterError(f"{metric!r} is not a metric name", hint="use letters, digits, _ and :")
    matchers = [_matcher(name, "=", value) for name, value in (labels or {}).items()]
    matchers += [_matcher(name, "=~", pattern) for name, pattern in (matching or {}).items()]
    for name, values in (none_of or {}).items():
        patterns = [literal(value) for value in values]
        if patterns:
            matchers.append(_matcher(name, "!~", "|".join(patterns)))
    if not _METRIC.fullmatch(metric):
        metric, matchers = "", [_matcher("__name__", "=", metric), *matchers]
    return f"{metric}{{{','.join(matchers)}}}" if matchers else metric


def _matcher(name: str, operator: str, value: str) -> str:
    if not (_LABEL.fullmatch(name) or _UTF8_LABEL.fullmatch(name)):
        raise ParameterError(f"{name!r} is not a label name", hint="use letters, digits and _")
    return f"{label_name(name)}{operator}{quoted(value)}"


def label_name(name: str) -> str:
    """The label's name as PromQL writes it: quoted if it has characters that only Prometheus 3 allows."""
    return name if _LABEL.fullmatch(name) else quoted(name)


def rate(series: str, window: str) -> str:
    """The increase per second over the window."""
    return f"rate({series}[{window}])"


def increase(series: str, window: str) -> str:
    """The increase over the window."""
    return f"increase({series}[{window}])"


def sum_of(expression: str, *, by: Iterable[str] = ()) -> str:
    """The sum over all series, or by labels."""
    labels = ",".join(label_name(name) for name in by)
    return f"sum by({labels}) ({expression})" if labels else f"sum({expression})"


def share(part: str, whole: str, *, by: Iterable[str] = ()) -> str:
    """Part over whole, 0–1. A group without a series of `part` is 0 and not missing.

    Without traffic in `whole` there is no series.
    """
    total = sum_of(whole, by=by)
    return f"({sum_of(part, by=by)} or {total} * 0) / ({total} > 0)"


def quantile(q: float, buckets: str, window: str, *, by: Iterable[str] = ()) -> str:
    """The quantile of a histogram, with its buckets summed by `le` and by the labels."""
    return f"histogram_quantile({q:g}, {sum_of(rate(buckets, window), by=('le', *by))})"


@dataclass(frozen=True, slots=True)
class Histogram:
    """A classic histogram, by its name without suffix."""

    name: str
    labels: Mapping[str, str] = field(default_factory=dict)
    none_of: Mapping[str, Iterable[str]] = field(default_factory=dict)

    def quantile(self, q: float, window: str, *, by: Iterable[str] = ()) -> str:
        """The quantile `q` (0–1) of the observations in the window, interpolated within a bucket."""
        return quantile(q, selector(f"{self.name}_bucket", self.labels, none_of=self.none_of), window, by=by)

    def counted(self, window: str, *, by: Iterable[str] = ()) -> str:
        """The number of observations in the window."""
        every = selector(f"{self.name}_bucket", {**self.labels, "le": "+Inf"}, none_of=self.none_of)
        return sum_of(increase(every, window), by=by)

    def bounds(self) -> str:
        """One series for each bucket, with its upper bound as the label `le`."""
        return f"group by(le) ({selector(f'{self.name}_bucket', self.labels, none_of=self.none_of)})"
