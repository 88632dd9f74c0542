"""`make survive`: bring about every row of the matrix, print the table, and keep it as docs/survival.md.

`python -m tests.faults [--seed N] [--write] [ROW …]`: exit 0 where every row in scope passed.
"""

import argparse
import secrets
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.support.rows import NOT_YET, ROWS
from tests.support.survey import COUNTS

_PAGE = Path(__file__).parents[2] / "docs" / "survival.md"
_RULES = Path(__file__).parent / "rules.md"


@dataclass
class Outcome:
    """What became of one row's tests."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0
    seconds: float = 0.0

    @property
    def word(self) -> str:
        """A row passed when it has tests and all of them ran and passed."""
        if self.failed or self.skipped:
            return "FAILED" if self.failed else "not run"
        return "passed" if self.passed else "no test"


class Table:
    """A pytest plugin that gathers outcomes and counts by row."""

    def __init__(self) -> None:
        self.rows: dict[str, Outcome] = defaultdict(Outcome)
        self.counts = {name: [0, 0] for name in COUNTS}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count one phase of one test."""
        for row in [str(told) for name, told in report.user_properties if name == "row"]:
            outcome = self.rows[row]
            outcome.seconds += report.duration
            outcome.skipped += report.skipped
            outcome.passed += report.passed and report.when == "call"
            if report.failed:
                outcome.failed.append(report.nodeid)
        if report.when == "teardown":
            for name, told in report.user_properties:
                if name in self.counts and isinstance(told, tuple):
                    self.counts[name][0] += told[0]
                    self.counts[name][1] += told[1]

    def closing_line(self) -> str:
        """The line by which the matrix is judged."""
        words = [
            f"{name} {sum(self.rows[row].word == 'passed' for row in rows)}/{len(rows)}"
            for name, rows in (("faults", _in_scope("F")), ("hostile", _in_scope("H")))
        ]
        return ", ".join([*words, *(f"{name} {told}" for name, (told, _) in self.counts.items())])

    def is_whole(self) -> bool:
        """Whether every row in scope passed and nothing was counted."""
        rows = [*_in_scope("F"), *_in_scope("H")]
        return all(self.rows[row].word == "passed" for row in rows) and not any(
            told for told, _ in self.counts.values()
        )

    def lines(self) -> list[str]:
        """The table in Markdown."""
        found = ["| id | what happens | tests | seconds | outcome |", "| --- | --- | --- | --- | --- |"]
        for name, row in ROWS.items():
            outcome = self.rows[name]
            word = f"not yet: {NOT_YET[name]}" if name in NOT_YET else outcome.word
            tests = outcome.passed + len(outcome.failed) + outcome.skipped
            title = row.title.replace("|", "\\|")
            found.append(f"| {name} | {title} | {tests or ''} | {outcome.seconds:.1f} | {word} |")
        return found


def _in_scope(letter: str) -> list[str]:
    return [name for name in ROWS if name[0] == letter and name not in NOT_YET]


def main() -> int:
    """Run the rows and tell of them."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("rows", nargs="*", help="only these rows (default: all)")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6), help="of what is random")
    parser.add_argument("--write", action="store_true", help="keep the table as docs/survival.md")
    parser.add_argument("--workers", default="4", help="how many tests at once; 0: in this process")
    given = parser.parse_args()
    unknown = [row for row in given.rows if row not in ROWS]
    if unknown:
        parser.error(f"there is no row {', '.join(unknown)}")
    table = Table()
    options = [
        "-q",
        "--no-header",
        *("-n", given.workers, "--no-loadscope-reorder"),
        "-m",
        "row",
        "--durations=0",
        "--durations-min=20",
        "--seed",
        str(given.seed),
    ]
    options += ["--rows", ",".join(given.rows)] if given.rows else ["--rows", "all"]
    code = pytest.main([*options, "tests"], plugins=[table])
    lines = table.lines()
    print("\n".join(lines), "", sep="\n")
    print(f"seed {given.seed}; not yet: {len(NOT_YET)} of {len(ROWS)} rows")
    print(table.closing_line())
    if given.write:
        _write(table, lines, given.seed)
    return int(bool(code) or not (given.rows or table.is_whole()))


def _write(table: Table, lines: list[str], seed: int) -> None:
    looked = ", ".join(f"{name} {told} of {of} looked at" for name, (told, of) in table.counts.items())
    told = [
        _RULES.read_text().rstrip(),
        "",
        f"Measured {datetime.now(UTC):%Y-%m-%d} with seed {seed}:",
        "",
        f"    {table.closing_line()}",
        "",
        f"Counted: {looked}. {len(NOT_YET)} of {len(ROWS)} rows are not yet in scope.",
        "",
        *lines,
    ]
    _PAGE.write_text("\n".join(told) + "\n")


if __name__ == "__main__":
    sys.exit(main())
