"""A strict YAML reader: no tags, no aliases, no duplicate keys, no ambiguous values.

YAML 1.1 reads `NO` as false, `007` as 7 and `12:34:56` as 45296. A value that YAML 1.1 and YAML 1.2 read
differently is refused, with the hint to quote it. Errors name line and column. Limits on size, depth and
number of values stop a file that is made to exhaust the parser.
"""

import math
import os
import re
import stat
from pathlib import Path
from typing import Any

import yaml

from runbooklib.errors import SettingsError
from runbooklib.text import hidden, quoted

_AMBIGUOUS = re.compile(
    r"y|Y|n|N|yes|Yes|YES|no|No|NO|on|On|ON|off|Off|OFF"
    r"|[-+]?0[0-9_]+|[-+]?0[bo][0-9_]+|[-+]?0x[0-9a-fA-F_]+"  # 007, 0o17
    r"|[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.\d*)?"  # 12:34:56
    r"|(?=[^_]*_)[-+]?(?:\d[\d_]*(?:\.[\d_]*)?|\.\d[\d_]*)(?:[eE][-+]?\d+)?"  # 10_000
    r"|[-+]?(?:\d+[eE][-+]?\d+|\d+\.\d*[eE]\d+|\.\d+[eE]\d+)"  # 1e3
)
_MAX_BYTES = 250_000
_MAX_DEPTH = 50
_MAX_VALUES = 5_000


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses what YAML 1.1 and YAML 1.2 read differently."""

    depth = 0
    values = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call] # the stubs have none
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise yaml.MarkedYAMLError(
                problem="anchors and aliases are not allowed", problem_mark=event.start_mark
            )
        if getattr(event, "tag", None):
            raise yaml.MarkedYAMLError(problem="tags are not allowed", problem_mark=event.start_mark)
        self.depth += 1
        self.values += 1
        if self.depth > _MAX_DEPTH:
            raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=event.start_mark)
        if self.values > _MAX_VALUES:
            raise yaml.MarkedYAMLError(
                problem=f"more than {_MAX_VALUES:,} keys and values", problem_mark=event.start_mark
            )
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.MarkedYAMLError(
                    problem=f"the key {quoted(key)} is not text; quote it", problem_mark=key_node.start_mark
                )
            if key in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"{quoted(key)} is a duplicate key", problem_mark=key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep=deep)

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:  # noqa: FBT001, FBT002 - PyYAML's signature
        try:
            value = super().construct_object(node, deep=deep)
        except ValueError:  # a number of thousands of digits
            raise yaml.MarkedYAMLError(
                problem=f"{quoted(node.value)} is not a usable number", problem_mark=node.start_mark
            ) from None
        if isinstance(value, float) and not math.isfinite(value):
            raise yaml.MarkedYAMLError(
                problem=f"{quoted(node.value)} is not a finite number", problem_mark=node.start_mark
            )
        return value

    def construct_scalar(self, node: yaml.ScalarNode | yaml.MappingNode) -> Any:
        if isinstance(node, yaml.ScalarNode):
            if node.style is None and _AMBIGUOUS.fullmatch(node.value):
                value_text = node.value if len(node.value) < 40 else quoted(node.value)
                raise yaml.MarkedYAMLError(
                    problem=f"{value_text} is ambiguous; quote it if it is text",
                    problem_mark=node.start_mark,
                )
            if character := hidden(node.value):
                raise yaml.MarkedYAMLError(
                    problem=f"contains {character}, which cannot be printed", problem_mark=node.start_mark
                )
        return super().construct_scalar(node)


# A date would become a naive datetime: keep the text, and let the schema read it.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_mapping(path: Path, file_name: str) -> dict[str, Any]:
    """The mapping in a YAML file. Raises SettingsError with `file_name`, line and column."""
    text = _read_text(path, file_name)
    loader = None
    try:
        loader = _Loader(text)
        loaded = loader.get_single_data()
    except yaml.MarkedYAMLError as error:
        problem = str(error.problem).replace("\n", " ")
        raise _yaml_error(
            file_name, error.problem_mark, problem if len(problem) < 200 else problem[:200] + "…"
        ) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        where = f"line {before.count(chr(10)) + 1}, column {error.position - before.rfind(chr(10))}"
        raise SettingsError(f"{file_name}, {where}: {error.reason}", hint="fix that line") from None
    except (yaml.YAMLError, ValueError, OverflowError):  # an escape beyond Unicode
        mark = loader.get_mark() if loader else None
        raise _yaml_error(file_name, mark, "an escape that is not a character") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise SettingsError(
            f"{file_name} must contain `name: value` lines", hint="see parameters/ for examples"
        )
    return loaded


def _yaml_error(file_name: str, mark: yaml.Mark | None, problem: str) -> SettingsError:
    where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
    return SettingsError(f"{file_name}{where}: {problem}", hint="fix that line")


def _read_text(path: Path, file_name: str) -> str:
    """The file's text. A pipe is refused without waiting for it."""
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            is_file = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            raw = file.read(_MAX_BYTES + 1) if is_file else b""
    except OSError as error:
        raise SettingsError(f"{file_name} cannot be read: {error.strerror}") from None
    if not is_file:
        raise SettingsError(
            f"{file_name} cannot be read: it is not a regular file", hint="replace it with a file"
        )
    if len(raw) > _MAX_BYTES:
        raise SettingsError(
            f"{file_name} is larger than {_MAX_BYTES // 1000} kB", hint="pass a parameter file"
        )
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        place = (
            f"line {raw[: error.start].count(10) + 1}, column {error.start - raw.rfind(10, 0, error.start)}"
        )
        raise SettingsError(f"{file_name} is not UTF-8 text at {place}", hint="save it as UTF-8") from None
