"""Measure redaction: `python -m tests.redact [LOGS...]` prints recall, and false positives in logs of others.

LOGS are files or folders. Each line that redaction changes is counted.
"""

import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from runbooklib.redact.redactor import Depth, Redactor
from tests.support.generated_secrets import Shown, shown

SEEDS = range(5)
_SUFFIXES = {".log", ".ndjson", ".txt", ".json", ".csv"}


def is_hidden(redactor: Redactor, item: Shown) -> bool:
    """Whether no eight characters of the secret are left, other than what all secrets of the vendor share."""
    text = redactor.text(item.line, Depth.SECRETS)
    tail = item.secret[-12:]
    return item.secret not in text and tail not in text


def recall(redactor: Redactor) -> tuple[Counter[str], Counter[str], list[Shown]]:
    """(all, hidden) by context, and what was not hidden."""
    every, hidden, left = Counter[str](), Counter[str](), []
    for seed in SEEDS:
        for item in shown(seed):
            every[item.context] += 1
            if is_hidden(redactor, item):
                hidden[item.context] += 1
            else:
                left.append(item)
    return every, hidden, left


def lines_of(paths: list[Path]) -> Iterator[str]:
    for path in paths:
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file() and (file == path or file.suffix in _SUFFIXES):
                yield from file.read_text("utf-8", "replace").splitlines()


def main(paths: list[Path]) -> None:
    redactor = Redactor()
    every, hidden, left = recall(redactor)
    for context in every:
        print(f"{context:<26} {hidden[context]:>5} of {every[context]:>5}")
    print(f"recall: {100 * hidden.total() / every.total():.2f} % of {every.total():,} lines")
    for item in left[:20]:
        print(f"  not hidden: {item.vendor}, {item.context}: {item.line[:120]}")
    if paths:
        lines, started = list(lines_of(paths)), time.process_time()
        changed = [line for line in lines if redactor.text(line, Depth.SECRETS) != line]
        seconds = time.process_time() - started
        print(
            f"false positives: {len(changed)} of {len(lines):,} lines,"
            f" {seconds / max(len(lines), 1) * 1e6:.0f} µs a line"
        )
        for line in changed[:20]:
            print(f"  {line[:300]}\n  -> {redactor.text(line, Depth.SECRETS)[:300]}")


if __name__ == "__main__":
    main([Path(word) for word in sys.argv[1:]])
