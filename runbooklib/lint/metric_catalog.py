"""The metric catalogue, parameters/metrics.yaml: all metrics with their labels and buckets."""

import difflib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

_SUFFIXES = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}
# From this similarity on, a name is taken for a misspelling of another name.
_ALIKE = 0.88


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Metric(_Section):
    """One metric. `values` lists all values of a label, `buckets` the finite bounds."""

    type: Literal["counter", "gauge", "histogram", "summary"]
    help: str
    labels: tuple[str, ...] = Field(default=(), strict=False)
    values: dict[str, Annotated[tuple[str, ...], Field(strict=False)]] = {}
    buckets: tuple[float, ...] = Field(default=(), strict=False)
    unit: str = ""
    open: bool = False


class Catalogue(_Section):
    """The whole file. It is complete for the names that begin with one of `families`."""

    jobs: tuple[str, ...] = Field(strict=False)
    target_labels: tuple[str, ...] = Field(strict=False)
    families: tuple[str, ...] = Field(strict=False)
    metrics: dict[str, Metric]

    def find(self, series: str) -> Metric | None:
        """The metric that exports a series of that name."""
        exact = self.metrics.get(series)
        if exact and "" in _SUFFIXES.get(exact.type, ("",)):
            return exact
        for suffix in ("_bucket", "_sum", "_count"):
            metric = self.metrics.get(series.removesuffix(suffix)) if series.endswith(suffix) else None
            if metric and suffix in _SUFFIXES.get(metric.type, ()):
                return metric
        return None

    def labels(self, series: str) -> Mapping[str, frozenset[str] | None] | None:
        """The labels of the series, each with all its values (None: any); None for an unknown series."""
        metric = self.find(series)
        if metric is None or metric.open:
            return None
        own = (*metric.labels, "le") if series.endswith("_bucket") else metric.labels
        if metric.type == "summary" and series in self.metrics:
            own = (*own, "quantile")
        closed = {label: frozenset(values) for label, values in metric.values.items()}
        return {label: closed.get(label) for label in (*self.target_labels, *own)}

    def speaks_for(self, series: str) -> bool:
        """Whether the catalogue must list this series: a name of a family, or similar to a listed name."""
        return series.startswith(self.families) or bool(self.nearest(series))

    def nearest(self, series: str) -> str:
        """The listed series with the most similar name, or empty."""
        names = [
            name + suffix
            for name, metric in self.metrics.items()
            for suffix in _SUFFIXES.get(metric.type, ("",))
        ]
        near = difflib.get_close_matches(series, names, n=1, cutoff=_ALIKE)
        return near[0] if near else ""
