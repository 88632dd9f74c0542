"""A small folder of runbooks in which nothing is wrong, and what it takes to make one thing wrong."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from runbooklib.config import notebook_file, scaffold
from runbooklib.config.rule_file import read_rules
from runbooklib.lint import gather_material, lint
from runbooklib.lint.rule import Message

TODAY = date(2026, 11, 24)
RULES = """\
groups:
  - name: shop
    rules:
      - alert: ShopErrors
        expr: |
          sum(rate(shop_requests_total{code="500"}[5m])) / sum(rate(shop_requests_total[5m])) > 0.05
            and sum(rate(shop_requests_total[5m])) > 1
        for: 5m
        labels: {severity: critical, team: shop}
        annotations:
          summary: "Too many requests fail"
          description: "{{ $value | humanizePercentage }} of requests fail."
          runbook_url: https://runbooks.example/ShopErrors
      - alert: ShopSlow
        expr: histogram_quantile(0.95, sum by (le) (rate(shop_seconds_bucket[5m]))) > 0.5
        labels: {severity: warning, team: shop}
        annotations:
          summary: "The shop is slow"
          runbook_url: https://runbooks.example/ShopSlow
      - alert: ShopDown
        expr: up{job="shop"} == 0 or absent(up{job="shop"})
        labels: {severity: critical, team: shop}
        annotations:
          summary: "The shop is down"
          runbook_url: "https://j.example/runbooks/open?alertname=ShopDown&x={{ $labels.job }}"
"""
ROUTING = """\
route:
  receiver: on-call
  routes:
    - receiver: shop
      matchers: [team="shop", severity="critical"]
    - receiver: on-call
      matchers: [severity="warning"]
receivers:
  - name: on-call
  - name: shop
inhibit_rules:
  - source_matchers: [alertname="ShopErrors"]
    target_matchers: [alertname="ShopSlow"]
    equal: [team]
"""
METRICS = """\
jobs: ["shop"]
target_labels: ["job", "instance"]
families: ["shop_"]
metrics:
  up: {type: gauge, help: "1 where the last scrape succeeded"}
  shop_requests_total:
    {type: counter, help: "Requests", labels: ["code", "path"], values: {code: ["200", "500"]}}
  shop_seconds:
    {type: histogram, help: "Durations", unit: seconds, labels: ["path"], buckets: [0.1, 0.5, 1, 2.5]}
"""
SITE = """\
title: "Shop"
systems:
  prometheus: {url: "http://127.0.0.1:9"}
services:
  shop: {title: "Shop", labels: {job: "shop"}}
contacts:
  - {role: "On-call", name: "Ada", reach: "ada@shop.example"}
ownership:
  team: "Shop"
  primary: "Ada"
  last_reviewed: "2026-11-01"
  review_every: "13w"
"""
PROSE = "The shop cannot be used while it lasts."
# A limit in a cell of its own kind, so that the threshold of one rule is a number and not a whole condition.
LIMIT = "share_limit: float = 0.05  # share of requests, as in the alert rule"


@dataclass(frozen=True)
class Home:
    """The folder and its two files that are given by option."""

    folder: Path

    @property
    def rules(self) -> Path:
        return self.folder / "rules.yml"

    @property
    def routing(self) -> Path:
        return self.folder / "alertmanager.yml"

    def lint(self) -> list[Message]:
        """Everything that is found."""
        material = gather_material(self.folder, TODAY, rule_files=[self.rules], alertmanager=self.routing)
        return lint(material)

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that stands once in a file."""
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in {name}"
        path.write_text(text.replace(old, new))

    def recell(self, alert: str, cell: str, change: Callable[[str], str]) -> None:
        """Change the source of one cell, and keep the notebook tidy."""
        path = self.folder / "notebooks" / f"{alert}.ipynb"
        notebook = notebook_file.read(path)
        (changed,) = [each for each in notebook["cells"] if each["id"] == cell]
        changed["source"] = change(notebook_file.source(changed))
        path.write_text(notebook_file.canonical(notebook))

    def reorder(self, alert: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
        """Change the list of cells, and keep the notebook tidy."""
        path = self.folder / "notebooks" / f"{alert}.ipynb"
        notebook = notebook_file.read(path)
        change(notebook["cells"])
        path.write_text(notebook_file.canonical(notebook))


def sound(folder: Path) -> Home:
    """The folder, with nothing wrong in it."""
    home = Home(folder)
    (folder / "parameters" / "environments").mkdir(parents=True)
    (folder / "parameters" / "environments" / "shop.yaml").write_text(SITE)
    (folder / "parameters" / "metrics.yaml").write_text(METRICS)
    home.rules.write_text(RULES)
    home.routing.write_text(ROUTING)
    for rule in read_rules(home.rules):
        scaffold.write(rule, folder, environment="shop", service="shop")
        path = folder / "notebooks" / f"{rule.alert}.ipynb"
        text = path.read_text()
        for line in notebook_file.as_text(json.loads(text)).splitlines():
            if "TODO" in line:
                text = text.replace(line[line.index("TODO") :], PROSE)
        path.write_text(text)
    home.recell("ShopErrors", "parameters", lambda source: f"{source}\n{LIMIT}")
    return home
