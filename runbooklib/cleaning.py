"""A whole executed notebook made fit to be kept: the one place that each of its bytes passes before it is saved.

Secrets go out of it, and with them what redaction cannot read.
"""

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from runbooklib.redact import Depth, Redactor

_IN_LINES = frozenset({"source", "text"})
_EMBEDDED = re.compile(r"(data:image/png;base64,)([A-Za-z0-9+/=]+)")
_PNG = b"\x89PNG\r\n\x1a\n"
_PICTURE_CHUNKS = frozenset(b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB bKGD pHYs sBIT acTL fcTL fdAT".split())


def cleaned(notebook: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """The executed notebook (nbformat 4) without secrets, paths of this machine and unreadable parts."""
    kept: dict[str, Any] = redactor.json(_readable(_without_paths(notebook)), Depth.SECRETS)
    return kept


def _without_paths(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook without this machine's paths, which papermill notes in the metadata."""
    metadata = {**notebook.get("metadata", {})}
    if "papermill" in metadata:
        told = {**metadata["papermill"]}
        for name in ("input_path", "output_path"):
            if told.get(name):
                told[name] = Path(told[name]).name
        metadata["papermill"] = told
    return {**notebook, "metadata": metadata}


def _readable(notebook: Mapping[str, Any]) -> dict[str, Any]:
    """The notebook with nothing in it that redaction could not read: texts whole, pictures without texts."""
    return {**notebook, "cells": [_readable_part(cell) for cell in notebook["cells"]]}


def _readable_part(part: Any, name: str = "") -> Any:
    if isinstance(part, Mapping):
        return {key: _readable_part(value, key) for key, value in part.items()}
    if isinstance(part, list):
        # nbformat keeps texts in lines, and a key of several lines is only known as a whole.
        is_lines = name in _IN_LINES or "/" in name
        if is_lines and all(isinstance(line, str) for line in part):
            return _readable_part("".join(part), name)
        return [_readable_part(one) for one in part]
    if isinstance(part, str) and name == "image/png":
        return _picture_alone(part)
    if isinstance(part, str):
        return _EMBEDDED.sub(lambda found: found[1] + _picture_alone(found[2]), part)
    return part


def _picture_alone(encoded: str) -> str:
    """A PNG in base64 without its chunks of text, packed or not; nothing where it is no PNG."""
    try:
        whole = base64.b64decode(encoded)
    except ValueError:
        return ""
    if not whole.startswith(_PNG):
        return ""
    kept, place = [_PNG], len(_PNG)
    while place + 12 <= len(whole):
        end = place + 12 + int.from_bytes(whole[place : place + 4], "big")
        if whole[place + 4 : place + 8] in _PICTURE_CHUNKS:
            kept.append(whole[place:end])
        place = end
    return base64.b64encode(b"".join(kept)).decode()
