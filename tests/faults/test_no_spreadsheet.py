"""H57: what is tabular in a bundle, and that no cell of it becomes a formula where it is pasted.

There is no export to CSV: a bundle holds a notebook, a page, JSON, and on demand a PDF.
"""

import json
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest

from runbooklib.evidence.executed_notebook import export
from runbooklib.render.html import table, without_formula
from runbooklib.render.page import clean
from tests.support.running import ROOT, command
from tests.support.site import SiteAnswers, running_site

FORMULAS = ("=cmd|' /C calc'!A0", "+1+cmd()", "-2+3+cmd|x", "@SUM(A1:A9)", "=1+1", " =1", "\t=1", "\uff1d1")
SHOWN = f"""
import pandas
rows = {FORMULAS!r}
pandas.DataFrame({{"=cmd|heading": rows, "n": [-1.5] * len(rows)}}, index=rows)
"""


class Cells(HTMLParser):
    """The text of each cell of each table, as a spreadsheet takes it when a table is pasted."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self._is_within = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        if tag in ("td", "th"):
            self._is_within = True
            self.texts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._is_within = self._is_within and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._is_within:
            self.texts[-1] += data


def formulas(page: str) -> list[str]:
    found = [text.strip() for text in Cells(page).texts]
    # What a spreadsheet calculates; a number with its sign is itself.
    return [t for t in found if t[:1] in "=+-@\uff1d" and t and not t.lstrip("+-")[:1].isdigit()]


@pytest.mark.row("H57")
def test_no_file_of_a_bundle_is_a_spreadsheet_and_no_cell_of_its_tables_a_formula(tmp_path: Path) -> None:
    told = SiteAnswers(endpoint=FORMULAS[0], error_type=FORMULAS[3], other_alert=FORMULAS[2])
    with running_site(tmp_path, told) as site:
        home = site.home(SHOWN)
        ended = site.run(tmp_path / "out", environment={"RUNBOOK_HOME": str(home)})
    bundle = Path(ended.verdict["bundle"])
    names = {path.name for path in bundle.iterdir()}
    assert names == {"manifest.json", "notebook.html", "notebook.ipynb", "verdict.json"}
    kept = json.loads((bundle / "notebook.ipynb").read_bytes())
    shown = [o["data"] for c in kept["cells"] for o in c.get("outputs", ()) if "data" in o]
    assert not [
        mime for data in shown for mime in data if "csv" in mime or "excel" in mime or "sheet" in mime
    ]
    tables = [(bundle / "notebook.html").read_text(), *(data.get("text/html", "") for data in shown)]
    told_of = [text for page in tables for text in Cells(page).texts]
    assert [text for text in told_of if text == f"'{FORMULAS[0]}"]
    assert "-1.5" in told_of
    assert [page for page in map(formulas, tables) if page] == []
    # What `runbook export` writes is JSON, which no spreadsheet calculates.
    assert "recording" in json.loads(json.dumps(export(bundle)))
    exported = tmp_path / "x.json"
    assert command(["runbook", "export", str(bundle), str(exported)], cwd=ROOT).code == 0
    assert json.loads(exported.read_text())["verdict"]["status"] == ended.verdict["status"]


@pytest.mark.row("H57")
@pytest.mark.parametrize("formula", FORMULAS)
def test_a_cell_that_begins_like_a_formula_gets_an_apostrophe_live_and_saved(formula: str) -> None:
    live = table(pd.DataFrame({formula: [formula]}))
    assert formulas(live) == []
    assert formulas(clean(f"<table><tr><td>{formula}</td><th><b>{formula}</b></th></tr></table>")) == []
    assert formulas(f"<table><tr><td>{formula}") == [formula.strip()] or formula[:1] in "+-"


@pytest.mark.parametrize(
    "told", ["-1.5", "+3", "-0.3 %", "-3 min", "-1e-05", "+Inf", "-", "--", "a=b", "5", "–", ""]
)
def test_a_cell_that_is_a_quantity_stays_as_it_is(told: str) -> None:
    assert without_formula(told) == told
