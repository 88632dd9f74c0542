"""A whole executed notebook made fit to be kept: the one place that each of its bytes passes first.

Secrets go out of it, and with them what redaction cannot read. What a viewer of notebooks would act on
becomes something to read. Texts are joined before they are looked through: a secret has no seams.
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
# The colours of IPython's tracebacks: they stand within words and tear them apart.
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}m")
_URL_PASSWORD = re.compile(r"://[^\s/:@'\"\\]*:([^\s/'\"\\@]+)@")
# Shorter words may be words; and a hostile notebook must not make redaction slow.
_MEANT, _MOST = 6, 50
_CELL_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MIME = re.compile(r"[\w.+-]{1,60}/[\w.+-]{1,60}")
# A raw cell goes into nbconvert's pages as it is, unless it says that it is text.
_RAW = {"format": "text/plain", "raw_mimetype": "text/plain"}


def cleaned(notebook: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """The executed notebook (nbformat 4) without secrets, without paths of this machine, and inert."""
    _learn(notebook, redactor)
    metadata = _without_paths(notebook.get("metadata", {}))
    metadata.pop("widgets", None)
    kept: dict[str, Any] = redactor.json({**notebook, "metadata": metadata, "cells": []}, Depth.SECRETS)
    return {**kept, "cells": [_cell(cell, redactor) for cell in notebook["cells"]]}


def cleaned_part(part: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    """The same for one output, or one cell's metadata. What outputs have torn is seen in the whole."""
    if "output_type" not in part:
        kept: dict[str, Any] = redactor.json(part, Depth.SECRETS)
        return kept
    _learn({"cells": [{"outputs": [part]}]}, redactor)
    [whole] = _merged([part])
    if whole["output_type"] == "stream":
        whole["text"] = redactor.text(whole["text"])
    return _output(whole, redactor)


def cleaned_text(text: str, redactor: Redactor) -> str:
    """The same for what a stream goes on to say."""
    return _shown_stream(redactor.text(text))


def _learn(notebook: Mapping[str, Any], redactor: Redactor) -> None:
    """Tell the redactor what the notebook itself gives away: what is secret in it, and what is not."""
    redactor.allow(_contacts(notebook))
    for secret in _told_in_urls(notebook):
        redactor.know(secret)


def _without_paths(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """The metadata without this machine's paths, which papermill notes there."""
    found = {**metadata}
    if "papermill" in found:
        told = {**found["papermill"]}
        for name in ("input_path", "output_path"):
            if told.get(name):
                told[name] = Path(told[name]).name
        found["papermill"] = told
    return found


def _contacts(notebook: Mapping[str, Any]) -> Iterator[str]:
    """The texts of the site's own settings, as the notebook recorded them."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            yield from _contacts_in(output)


def _contacts_in(output: Mapping[str, Any]) -> Iterator[str]:
    packed = output.get("data", {}).get(RECORDING_MIME)
    for entry in _entries(packed) if packed else ():
        if entry.source == OPENING:
            yield json.dumps(entry.answer, ensure_ascii=False)


def _told_in_urls(found_in: Mapping[str, Any]) -> list[str]:
    """Passwords that stand in a URL somewhere: elsewhere an error may tell them alone."""
    texts = json.dumps(found_in, ensure_ascii=False)
    found = {told for one in _URL_PASSWORD.findall(texts) for told in (one, unquote(one))}
    return sorted(one for one in found if len(one) >= _MEANT and not one.startswith("[redacted:"))[:_MOST]


def _entries(packed: dict[str, Any]) -> list[Entry]:
    try:
        return unpack(packed)
    except (EvidenceError, AttributeError):
        return []


def _cell(cell: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    kind = cell["cell_type"] if cell["cell_type"] in ("code", "markdown") else "raw"
    source = redactor.text(_joined(cell.get("source", "")), Depth.SECRETS)
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
        kept["outputs"] = _outputs(cell.get("outputs", ()), redactor)
    return kept


def _cell_id(told: str) -> str:
    return (
        told if _CELL_ID.fullmatch(told) else hashlib.sha256(told.encode("utf-8", "replace")).hexdigest()[:16]
    )


def _outputs(outputs: Sequence[Mapping[str, Any]], redactor: Redactor) -> list[dict[str, Any]]:
    """The outputs; what streams say is looked through as a whole, each alone and all as they follow."""
    found = _merged(outputs)
    streams = [place for place, output in enumerate(found) if output.get("output_type") == "stream"]
    names = {found[place]["name"] for place in streams}
    for chosen in ([p for p in streams if found[p]["name"] == name] for name in sorted(names)):
        _look_through(found, chosen, redactor)
    if len(names) > 1:
        _look_through(found, streams, redactor)
    for place in streams:
        found[place]["text"] = redactor.piece(found[place]["text"])
    return [_output(output, redactor) for output in found if output.get("text") != ""]


def _merged(outputs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The outputs, with what one stream says in a row as one."""
    found: list[dict[str, Any]] = []
    for output in outputs:
        if output.get("output_type") != "stream":
            found.append({**output})
            continue
        name = "stderr" if output.get("name") == "stderr" else "stdout"
        text = _joined(output.get("text", ""))
        if found and found[-1].get("name") == name and found[-1].get("output_type") == "stream":
            found[-1]["text"] += text
        else:
            found.append({"output_type": "stream", "name": name, "text": text})
    return found


def _look_through(found: list[dict[str, Any]], places: Sequence[int], redactor: Redactor) -> None:
    texts = redactor.pieces([found[place]["text"] for place in places]) if places else []
    for place, text in zip(places, texts, strict=True):
        found[place]["text"] = text


def _output(output: Mapping[str, Any], redactor: Redactor) -> dict[str, Any]:
    kind = output.get("output_type")
    if kind == "stream":
        return {**output, "text": _shown_stream(output["text"])}
    if kind == "error":
        told = {name: _said(str(output.get(name, "")), redactor) for name in ("ename", "evalue")}
        trace = _said("\n".join(map(str, output.get("traceback") or ())), redactor)
        return {"output_type": kind, **told, "traceback": trace.split("\n") if trace else []}
    data, left_out = _data(output.get("data", {}), redactor)
    kept = {"output_type": kind if kind == "execute_result" else "display_data", "data": data, "metadata": {}}
    if kind == "execute_result":
        kept["execution_count"] = output.get("execution_count")
    left_out += output.get("metadata", {}).get("runbook", {}).get("left_out", [])
    if left_out:
        names = {mime if _MIME.fullmatch(str(mime)) else "?" for mime in left_out}
        kept["metadata"] = {"runbook": {"left_out": sorted(names)}}
    return kept


def _shown_stream(text: str) -> str:
    return visible(text.replace("\r\n", "\n"))


def _said(text: str, redactor: Redactor) -> str:
    return visible(redactor.text(_COLOUR.sub("", text)))


def _data(data: Mapping[str, Any], redactor: Redactor) -> tuple[dict[str, Any], list[str]]:
    """What an output shows, by type; and the types that were left out."""
    # What is ours was made from answers that had been looked through, and keeps the site's own words.
    depth = Depth.SECRETS if OURS & data.keys() else Depth.EVERYTHING
    shown = {mime: _shown(mime, content, redactor, depth) for mime, content in data.items()}
    kept = {mime: told for mime, told in shown.items() if told}
    if "text/markdown" in kept:
        kept.setdefault("text/html", kept.pop("text/markdown"))
    left_out = sorted(mime if _MIME.fullmatch(mime) else "?" for mime in data if not shown[mime])
    if not kept:
        kept["text/plain"] = f"left out: {', '.join(left_out) or 'nothing was shown'}"
    return kept, left_out


def _shown(mime: str, content: Any, redactor: Redactor, depth: Depth) -> Any:
    """The content as it may be kept; nothing where it may not."""
    if mime == RECORDING_MIME:
        return _recording(content, redactor)
    if mime in OURS:
        return redactor.json(content, Depth.SECRETS)
    text = _joined(content)
    if mime == "image/png":
        return _picture_alone(text)
    if mime == "text/plain":
        return visible(redactor.text(text, depth))
    if mime == "text/html":
        return _html(_EMBEDDED.sub(lambda found: found[1] + _picture_alone(found[2]), text), redactor, depth)
    if mime == "text/markdown":
        return _html(markdown(redactor.text(text, depth)), redactor, depth)
    return None


def _html(fragment: str, redactor: Redactor, depth: Depth) -> str:
    """HTML without secrets, be they written in entities or torn apart by tags, inert, and never typeset."""
    told = clean(redactor.text(clean(without_literal(fragment)), depth))
    words = words_of(told)
    seen = redactor.text(words, Depth.KNOWN)
    return literal(told if seen == words else preformatted(redactor.text(seen, depth)))


def _recording(packed: Any, redactor: Redactor) -> Any:
    """The recording without known secrets: the tape took them out, unless something else recorded."""
    told = [entry.as_dict() for entry in _entries(packed)]
    kept = redactor.json(told, Depth.KNOWN)
    if kept == told:
        return packed
    own = packed.get(OWN)
    is_own_told = isinstance(own, list) and all(isinstance(place, int) for place in own)
    return {**pack([Entry.from_dict(one) for one in kept]), **({OWN: own} if is_own_told else {})}


def _joined(content: Any) -> str:
    """A text as nbformat keeps it: whole, or in lines."""
    if isinstance(content, list):
        return "".join(map(str, content))
    return content if isinstance(content, str) else ""


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
