"""YAML that means what it looks like: no tags, no aliases, no duplicate keys, no words that turn into values.

YAML 1.1 reads `NO` as false, `007` as 7 and `12:34:56` as 45296. Where YAML 1.1 and the reader of the
file may disagree, the file is refused and the reader is told to quote.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from runbooklib.errors import SettingsError

_AMBIGUOUS = re.compile(
    r"(?:y|Y|n|N|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF|[-+]?0[0-9_]+|[-+]?0[bo][0-9_]+|[-+]?0x[0-9a-fA-F_]+|[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.\d*)?)"
)
_MOST_BYTES = 1_000_000
_MOST_DEPTH = 50


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses what YAML 1.1 makes surprising."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not allowed", problem_mark=event.start_mark
            )
        if getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(problem="tags are not allowed", problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > _MOST_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key!r} is not text: quote it", problem_mark=key_node.start_mark
                )
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{key!r} stands here twice", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if isinstance(node, yaml.ScalarNode) and node.style is None and _AMBIGUOUS.fullmatch(node.value):
            raise yaml.MarkedYAMLError(
                problem=f"{node.value} can be read in two ways: quote it if it is text",
                problem_mark=node.start_mark,
            )
        return super().construct_scalar(node)


# A date would become a naive datetime: keep the text, and let the schema say what it is.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_mapping(path: Path, shown: str) -> dict[str, Any]:
    """The mapping in a YAML file. Raises SettingsError with line and column; `shown` names the file in it."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise SettingsError(f"{shown} cannot be read: {error.strerror}") from None
    if len(raw) > _MOST_BYTES:
        raise SettingsError(f"{shown} is larger than 1 MB", remedy="this is not a parameter file")
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        raise SettingsError(f"{shown} is not UTF-8 text", remedy="save it as UTF-8") from None
    try:
        loaded = yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise SettingsError(f"{shown}{where}: {error.problem}", remedy="mend that line") from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = f"line {before.count(chr(10)) + 1}, column {error.position - before.rfind(chr(10))}"
        raise SettingsError(f"{shown}, {where}: {error.reason}", remedy="mend that line") from None
    except (yaml.YAMLError, ValueError) as error:  # ValueError: a number of thousands of digits
        raise SettingsError(f"{shown}: {error}".replace("\n", " "), remedy="mend the file") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise SettingsError(f"{shown} must hold `name: value` lines", remedy="see parameters/ for examples")
    return loaded
