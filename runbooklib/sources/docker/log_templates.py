"""Count the entries of a log that cannot all be kept, by template.

The entries of a template differ only in numbers and ids: a loop writes the same warning thousands of times.
An example of each template is kept and searched in their place.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

MAX_TEMPLATES, MAX_EXAMPLE_BYTES = 500, 250_000
# The status of a request says more than the number of an item: it stays.
_STATUSES = "200|201|202|204|206|30[1-478]|40[0-9]|41[0-8]|42[1-689]|431|451|499|50[0-8]|51[01]|52[0-7]|530"
_STATUS = rf"(?<![\d.,:])(?:{_STATUSES})(?!\d|[.,:]\d)"
_UUID = r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"
# The lookahead skips most characters, which makes the search several times as fast.
_VARIES = re.compile(
    rf"(?=[0-9a-fA-F])(?:{_UUID}|(?P<status>{_STATUS})|\b(?=[a-zA-Z]*\d)[0-9a-fA-F]{{8,}}\b|\b0x[0-9a-fA-F]+"
    r"|\d+(?:[.,:]\d+)*)"
)


def template_of(text: str) -> str:
    """The text with # for each number, time, address and id in it, but not for a possible HTTP status."""
    return _VARIES.sub(lambda match: match["status"] or "#", text)


def sees(pattern: str) -> bool:
    """Whether a regular expression matches all entries of a template or none: it names no other number."""
    numbers = re.findall(r"\d+", pattern)
    return r"\d" not in pattern and all(re.fullmatch(_STATUS, number) for number in numbers)


@dataclass(slots=True)
class _Repeated:
    lines: list[str]
    last: str
    times: int = 1


class Templates:
    """The templates of the entries that are not kept. `is_complete`: each of these has a template."""

    def __init__(self) -> None:
        self.is_complete = True
        self._by_template: dict[str, _Repeated] = {}
        self._size = 0

    def add(self, lines: list[str]) -> None:
        """Count an entry, given as its lines "time stream text"."""
        at = lines[0].partition(" ")[0]
        template = "\n".join(template_of(line.partition(" ")[2]) for line in lines)
        repeated = self._by_template.get(template)
        if repeated is not None:
            repeated.times, repeated.last = repeated.times + 1, at
            return
        size = len(json.dumps(lines))
        if len(self._by_template) >= MAX_TEMPLATES or self._size + size > MAX_EXAMPLE_BYTES:
            self.is_complete = False
            return
        self._size += size
        self._by_template[template] = _Repeated(lines, at)

    def examples(self) -> list[dict[str, Any]]:
        """For each template: times (count), lines (of its first entry), last (time of its last entry)."""
        repeated: Iterable[_Repeated] = self._by_template.values()
        return [{"times": item.times, "lines": item.lines, "last": item.last} for item in repeated]
