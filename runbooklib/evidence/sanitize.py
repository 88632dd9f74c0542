"""Cleans an executed notebook before it becomes evidence. Every byte of a bundle's notebook passes here.

It removes secrets, and every content that redaction cannot read. Content that a notebook viewer would act on,
such as scripts and links, becomes inert text. Texts are joined before they are searched, because a secret can
be split between two of them.
"""

import base64
import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from runbooklib.errors import EvidenceError
from runbooklib.evidence.verdict_json import OURS, RECORDING_MIME
from runbooklib.redact.redactor import Depth, Redactor
from runbooklib.render.inert_html import inert_cell, literal, preformatted, without_literal, words_of
from runbooklib.render.page import clean, markdown
from runbooklib.sources.tape import OPENING, OWN, Entry, pack, unpack
from runbooklib.text import visible

_EMBEDDED = re.compile(r"(data:image/png;base64,)([A-Za-z0-9+/=]+)")
_PNG = b"\x89PNG\r\n\x1a\n"
_PICTURE_CHUNKS = frozenset(b"IHDR PLTE IDAT IEND tRNS gAMA cHRM sRGB bKGD pHYs sBIT acTL fcTL fdAT".split())
# The colour codes of IPython's tracebacks can occur within a word and split it.
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}m")
_URL_PASSWORD = re.compile(r"://[^\s/:@'\"\\]*:([^\s/'\"\\@]+)@")
# A shorter password may be an ordinary word. The count is limited so that no notebook makes redaction slow.
_MIN_PASSWORD_LENGTH, _MAX_PASSWORDS = 6, 50
_CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MIME = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}")
# nbconvert copies a raw cell into its page unchanged, unless the metadata declare it as plain text.
_RAW = {"format": "text/plain", "raw_mimetype": "text/plain"}


def cleaned(notebook: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """The executed notebook (nbformat 4) without secrets, without this machine's paths, and inert."""
    learn(notebook, redactor)
    metadata = _without_paths(notebook.get("metadata", {}))
    metadata.pop("widgets", None)
    kept: dict[str, Any] = redactor.json({**notebook, "metadata": metadata, "cells": []}, Depth.SECRETS)
    return {**kept, "cells": [_clean_cell(cell, redactor) for cell in notebook["cells"]]}


def cleaned_part(part: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """The same for one output, or for one cell's metadata.

    A secret that is split between two outputs is only removed by `cleaned`.
    """
    if "output_type" not in part:
        kept: dict[str, Any] = redactor.json(part, Depth.SECRETS)
        return kept
    learn({"cells": [{"outputs": [part]}]}, redactor)
    [whole] = _merge_streams([part])
    if whole["output_type"] == "stream":
        whole["text"] = redactor.text(whole["text"])
    return _clean_output(whole, redactor)


def cleaned_text(text: str, redactor: Redactor) -> str:
    """The same for the next text of a stream."""
    return _clean_stream_text(redactor.text(text))


def learn(notebook: Mapping[str, Any], redactor: Redactor) -> None:
    """Add to the redactor the site's own texts, which it keeps, and the passwords in the notebook's URLs."""
    redactor.allow(_contacts(notebook))
    for secret in _url_passwords(notebook):
        redactor.know(secret)


def _without_paths(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata without this machine's paths, which papermill writes into them."""
    kept = {**metadata}
    if "papermill" in kept:
        papermill = {**kept["papermill"]}
        for name in ("input_path", "output_path"):
            path = papermill.get(name)
            if path:  # papermill writes a NotebookNode itself, if it was given one instead of a path
                papermill[name] = Path(path).name if isinstance(path, str) else ""
        kept["papermill"] = papermill
    return kept


def _contacts(notebook: Mapping[str, Any]) -> Iterator[str]:
    """The texts of the site's settings, as the notebook recorded them."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            yield from _contacts_in(output)


def _contacts_in(output: Mapping[str, Any]) -> Iterator[str]:
    packed = output.get("data", {}).get(RECORDING_MIME)
    for entry in _entries(packed) if packed else ():
        if entry.source == OPENING:
            yield json.dumps(entry.answer, ensure_ascii=False)


def _url_passwords(notebook: Mapping[str, Any]) -> list[str]:
    """The passwords in all URLs of the notebook. An error message may contain a password without its URL."""
    texts = json.dumps(notebook, ensure_ascii=False)
    encoded = set(_URL_PASSWORD.findall(texts))
    passwords = sorted(
        password
        for password in encoded | {unquote(password) for password in encoded}
        if len(password) >= _MIN_PASSWORD_LENGTH and not password.startswith("[redacted:")
    )
    return passwords[:_MAX_PASSWORDS]


def _entries(packed: dict[str, Any]) -> list[Entry]:
    try:
        return unpack(packed)
    except (EvidenceError, AttributeError):
        return []


def _clean_cell(cell: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    kind = cell["cell_type"] if cell["cell_type"] in ("code", "markdown") else "raw"
    source = redactor.text(_join_lines(cell.get("source", "")), Depth.SECRETS)
    metadata = redactor.json(cell.get("metadata", {}), Depth.SECRETS)
    kept = {**cell, "cell_type": kind, "source": source, "metadata": metadata}
    kept.pop("attachments", None)
    if "id" in kept:
        kept["id"] = _cell_id(redactor.text(str(kept["id"])))
    if kind == "markdown":
        kept["source"] = inert_cell(source)
    if kind == "raw":
        kept |= {"source": visible(source), "metadata": {**metadata, **_RAW}}
    if kind == "code":
        kept["outputs"] = _clean_outputs(cell.get("outputs", ()), redactor)
    return kept


def _cell_id(cell_id: str) -> str:
    """The id if nbformat allows it, else a digest of it."""
    if _CELL_ID.fullmatch(cell_id):
        return cell_id
    return hashlib.sha256(cell_id.encode("utf-8", "replace")).hexdigest()[:16]


def _clean_outputs(outputs: Sequence[Mapping[str, Any]], redactor: Redactor) -> list[dict[str, Any]]:
    """The cleaned outputs. The texts of each stream are searched together, then those of both streams."""
    merged = _merge_streams(outputs)
    streams = [output for output in merged if output.get("output_type") == "stream"]
    names = {output["name"] for output in streams}
    for name in sorted(names):
        _redact_streams([output for output in streams if output["name"] == name], redactor)
    if len(names) > 1:
        _redact_streams(streams, redactor)
    for output in streams:
        output["text"] = redactor.piece(output["text"])
    return [_clean_output(output, redactor) for output in merged if output.get("text") != ""]


def _merge_streams(outputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Copies of the outputs; consecutive outputs of the same stream are joined."""
    merged: list[dict[str, Any]] = []
    for output in outputs:
        if output.get("output_type") != "stream":
            merged.append({**output})
            continue
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        text = _join_lines(output.get("text", ""))
        if merged and merged[-1].get("name") == name and merged[-1].get("output_type") == "stream":
            merged[-1]["text"] += text
        else:
            merged.append({"output_type": "stream", "name": name, "text": text})
    return merged


def _redact_streams(streams: Sequence[dict[str, Any]], redactor: Redactor) -> None:
    """Redact the texts in place, also a secret that is split between them."""
    texts = redactor.pieces([output["text"] for output in streams])
    for output, text in zip(streams, texts, strict=True):
        output["text"] = text


def _clean_output(output: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    kind = output.get("output_type")
    if kind == "stream":
        return {**output, "text": _clean_stream_text(output["text"])}
    if kind == "error":
        error = {name: _clean_error_text(str(output.get(name, "")), redactor) for name in ("ename", "evalue")}
        trace = _clean_error_text("\n".join(map(str, output.get("traceback") or ())), redactor)
        return {"output_type": kind, **error, "traceback": trace.split("\n") if trace else []}
    data, left_out = _clean_data(output.get("data", {}), redactor)
    kept = {"output_type": kind if kind == "execute_result" else "display_data", "data": data, "metadata": {}}
    if kind == "execute_result":
        kept["execution_count"] = output.get("execution_count")
    left_out += output.get("metadata", {}).get("runbook", {}).get("left_out", [])
    if left_out:
        names = {mime if _MIME.fullmatch(str(mime)) else "?" for mime in left_out}
        kept["metadata"] = {"runbook": {"left_out": sorted(names)}}
    return kept


def _clean_stream_text(text: str) -> str:
    return visible(text.replace("\r\n", "\n"))


def _clean_error_text(text: str, redactor: Redactor) -> str:
    return visible(redactor.text(_COLOUR.sub("", text)))


def _clean_data(data: Mapping[str, Any], redactor: Redactor) -> tuple[dict[str, Any], list[str]]:
    """The contents of an output by MIME type, and the types that were left out."""
    # Our own outputs come from answers that were already redacted. They keep the site's own texts.
    depth = Depth.SECRETS if OURS & data.keys() else Depth.EVERYTHING
    contents = {mime: _clean_content(mime, content, redactor, depth) for mime, content in data.items()}
    kept = {mime: content for mime, content in contents.items() if content}
    if "text/markdown" in kept:
        kept.setdefault("text/html", kept.pop("text/markdown"))
    left_out = sorted(mime if _MIME.fullmatch(mime) else "?" for mime in data if not contents[mime])
    if not kept:
        kept["text/plain"] = f"left out: {', '.join(left_out) or 'nothing was shown'}"
    return kept, left_out


def _clean_content(mime: str, content: Any, redactor: Redactor, depth: Depth) -> Any:
    """The cleaned content; empty or None if it must not be kept."""
    if mime == RECORDING_MIME:
        return _clean_recording(content, redactor)
    if mime in OURS:
        return redactor.json(content, Depth.SECRETS)
    text = _join_lines(content)
    if mime == "image/png":
        return _png_without_text(text)
    if mime == "text/plain":
        return visible(redactor.text(text, depth))
    if mime == "text/html":
        markup = _EMBEDDED.sub(lambda png: png[1] + _png_without_text(png[2]), text)
        return _clean_html(markup, redactor, depth)
    if mime == "text/markdown":
        return _clean_html(markdown(redactor.text(text, depth)), redactor, depth)
    return None


def _clean_html(fragment: str, redactor: Redactor, depth: Depth) -> str:
    """Inert HTML without secrets. The visible text is searched too: tags or entities can split a secret."""
    markup = clean(redactor.text(clean(without_literal(fragment)), depth))
    words = words_of(markup)
    redacted = redactor.text(words, Depth.KNOWN)
    return literal(markup if redacted == words else preformatted(redactor.text(redacted, depth)))


def _clean_recording(packed: Any, redactor: Redactor) -> Any:
    """The recording without known secrets. The tape removed them, unless other code wrote this recording."""
    entries = [entry.as_dict() for entry in _entries(packed)]
    kept = redactor.json(entries, Depth.KNOWN)
    if kept == entries:
        return packed
    own = packed.get(OWN)
    is_own_valid = isinstance(own, list) and all(isinstance(position, int) for position in own)
    return {**pack([Entry.from_dict(entry) for entry in kept]), **({OWN: own} if is_own_valid else {})}


def _join_lines(content: Any) -> str:
    """A text of nbformat, which is a string or a list of lines."""
    if isinstance(content, list):
        return "".join(map(str, content))
    return content if isinstance(content, str) else ""


def _png_without_text(encoded: str) -> str:
    """A base64 PNG without its text chunks; empty if it is not a PNG."""
    try:
        whole = base64.b64decode(encoded)
    except ValueError:
        return ""
    if not whole.startswith(_PNG):
        return ""
    kept, start = [_PNG], len(_PNG)
    while start + 12 <= len(whole):
        end = start + 12 + int.from_bytes(whole[start : start + 4], "big")
        if whole[start + 4 : start + 8] in _PICTURE_CHUNKS:
            kept.append(whole[start:end])
        start = end
    return base64.b64encode(b"".join(kept)).decode()
