"""The line of each value in a JSON or YAML file, so that a message names the line."""

import re
from collections.abc import Iterator, Mapping

import yaml

Path = tuple[str | int, ...]
Lines = Mapping[Path, int]
_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[^\s{}\[\],:"]+')
# The C loader is ten times faster, and composes the same nodes.
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def in_json(text: str) -> dict[Path, int]:
    """The line of each value of a valid JSON text, by its path."""
    lines: dict[Path, int] = {}
    path: list[str | int] = []
    line, at, is_key = 1, 0, False
    for token in _TOKEN.finditer(text):
        line, at, word = line + text.count("\n", at, token.start()), token.start(), token[0]
        if word in "]}":
            path.pop()
        elif word == ",":
            last = path[-1]
            path[-1] = last + 1 if isinstance(last, int) else last
            is_key = isinstance(last, str)
        elif word == ":":
            is_key = False
        elif is_key:
            path[-1] = word[1:-1]
        else:
            lines[tuple(path)] = line
            if word in "[{":
                path.append(0 if word == "[" else "")
                is_key = word == "{"
    return lines


def in_yaml(text: str) -> dict[Path, int]:
    """The line of each key and each item of a YAML text, by its path; empty for invalid YAML."""
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        return {}
    return dict(_walk(node, (), set())) if node else {}


def _walk(node: yaml.Node, path: Path, seen: set[int]) -> Iterator[tuple[Path, int]]:
    # An alias is the same node object. Each node is walked once, so that nested aliases do not multiply.
    if id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            below = (*path, str(key.value))
            yield below, key.start_mark.line + 1
            yield from _walk(value, below, seen)
    elif isinstance(node, yaml.SequenceNode):
        for number, value in enumerate(node.value):
            yield (*path, number), value.start_mark.line + 1
            yield from _walk(value, (*path, number), seen)


def nearest(lines: Lines, path: Path) -> int:
    """The line of the path, or of the nearest part above it that the file has; 1 if there is none."""
    while path and path not in lines:
        path = path[:-1]
    return lines.get(path, 1)
