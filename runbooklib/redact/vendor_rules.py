"""Secrets in the formats of their vendors: the rules of gitleaks, read from gitleaks.json.

A rule's pattern is compiled when one of its keywords first occurs, so a text without keywords costs
only the search for them. gitleaks reads files; a log also has its tokens in URLs and inside escaped text,
so the limits at both ends of a pattern are wider here.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

# gitleaks' own parts of a pattern: what stands before a vendor's name, between the name and its value, and
# after the value.
_BEFORE_NAME = r"[\w.-]{0,50}?"
# The same for one rule of gitleaks.
_BEFORE, _AFTER = r"""(?:^|[\\'"\x60\s>=:(,)])""", r"""(?:$|[\\'"\x60\s<),])"""
_END = r"""(?:[\x60'"\s;]|\\[nr]|$)"""
_BETWEEN = r"""(?:[ \t\w.-]{0,20})[\s'"]{0,3}(?:=|>|:{1,3}=|\|\||:|=>|\?=|,)[\x60'"\s=]{0,5}"""
# A token may also follow an escape of JSON or of a URL.
_STARTS = r"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt]))"
_ENDS = r"(?![A-Za-z0-9])"
_POSIX = {"[:alnum:]": "a-zA-Z0-9", r"\z": r"\Z"}
# Digests, commits and ids have these forms. A vendor's rule hides one only under a name that is not an id's.
_PLAIN_ID = re.compile(
    r"[0-9a-f]+|[0-9A-F]+|[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"
)
_ID_NAME = re.compile(
    r"(?i)(?:id|ids|sha\d*|commit|digest|trace|span|request|revision|rev|version|release|build|image|container"
    r"|hash|checksum|etag|uuid|guid|ref|url|host|name|user|account|project|region)\W*\Z"
)
# Tokens of these vendors, which gitleaks has no rule for; each prefix is in the vendor's documentation.
_MORE_PREFIXES = (
    "whsec_ sb_secret_ sbp_ gsk_ xai- r8_ lsv2_pt_ lsv2_sk_ tskey- dckr_pat_ dckr_oat_ nfp_ figd_ napi_ vck_ "
    "sk-or-v1- sk-ant- sk-proj- GOCSPX- bkua_ phx_ ATATT3 ATBB ATCTT3 ATTA AKID AKLT HRKU- CFPAT- nvapi- "
    "glc_ "
    "pscale_tkn_ pscale_oauth_ pscale_pw_ github_pat_ ghp_ gho_ ghu_ ghs_ ghr_ glpat- hf_ AIza npm_ pypi- "
    "xoxa- xoxb- xoxp- xoxr- xoxs- xapp- dop_v1_ doo_v1_ dor_v1_ shpat_ shpca_ shppa_ shpss_ hvs. hvb. "
    "xkeysib- sntrys_ sntryu_ rubygems_ dp.pt. lin_api_ PMAK- NRAK- NRII- NRJS- rdme_ sgp_ sk_live_ sk_test_ "
    "rk_live_ rk_test_ tfp_ ntn_ sq0atp- sq0csp- pplx- glsa_ ya29. duffel_live_ duffel_test_ dapi "
    "EAAA FLWSECK- FLWSECK_TEST- fio-u- ico- CLOJARS_ AKCp ops_eyJ pul- pnu_ dt0c01. LTAI shippo_live_ "
    "shippo_test_ secret_ AGE-SECRET-KEY- key- sk-lf- pk-lf- rpa_ tvly- fc- jina_ pcsk_ cio_ fo1_ fm2_"
).split()
_MIN_AFTER_PREFIX = 16
# gitleaks asks for the vendor's name in the same file; in one line of a log the token may stand alone.
_MORE_KEYWORDS = {"airtable-personnal-access-token": ("pat",)}
_ALONE = {"-us": r"[0-9a-f]{32}-us\d{1,2}", "aqvn": r"AQVN[A-Za-z0-9_-]{35,38}"}
_MAX_SET_CHARACTERS = 2000
_BASE64 = re.compile(r"[A-Za-z0-9+/]+")


@dataclass(slots=True)
class _Rule:
    """One rule. `group` is that of the secret; `has_name`: a vendor's name stands before the secret."""

    pattern: str
    group: int
    entropy: float
    has_name: bool
    after_prefix: bool = False
    compiled: re.Pattern[str] | None = field(default=None)

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        if self.compiled is None:
            self.compiled = re.compile(self.pattern)
        for match in self.compiled.finditer(text):
            start, end = match.span(self.group)
            if start >= end:
                start, end = match.span()
            if self.after_prefix and not _is_random(match[1]):
                continue
            if self._is_secret(text[match.start() : start], text[start:end]):
                yield start, end

    def _is_secret(self, before: str, value: str) -> bool:
        if _entropy(value) < self.entropy:
            return False
        if not _PLAIN_ID.fullmatch(value):
            return True
        return self.has_name and not _ID_NAME.search(before)


def _entropy(text: str) -> float:
    """Bits per character."""
    counts, size = Counter(text), len(text)
    return -sum(count / size * math.log2(count / size) for count in counts.values())


def spans(text: str) -> Iterator[tuple[int, int]]:
    """The start and end of each secret in a vendor's format; spans may overlap."""
    lowered = text.lower()
    seen: set[int] = set()
    for keyword in _keywords_in(lowered):
        for rule in _by_keyword()[keyword]:
            if id(rule) not in seen:
                seen.add(id(rule))
                yield from (span for span in rule.spans(text) if not _is_inside_base64(text, span[0]))


def _keywords_in(lowered: str) -> Iterator[str]:
    """The keywords that the text contains. A set of three letters each is faster than a search for each."""
    if len(lowered) > _MAX_SET_CHARACTERS:
        yield from (keyword for keyword in _by_keyword() if keyword in lowered)
        return
    beginnings = _by_beginning()
    present = beginnings.keys() & set(map("".join, zip(lowered, lowered[1:], lowered[2:], strict=False)))
    for beginning in ("", *present):
        yield from (keyword for keyword in beginnings.get(beginning, ()) if keyword in lowered)


def _is_inside_base64(text: str, at: int) -> bool:
    """Whether what stands before `at` is the beginning of a long base64 text, for example of a picture."""
    return _BASE64.fullmatch(text, max(0, at - 80), at) is not None and at >= 80


@cache
def _by_beginning() -> dict[str, list[str]]:
    """The keywords by their first three characters; the shorter ones under ""."""
    keywords: dict[str, list[str]] = {}
    for keyword in _by_keyword():
        keywords.setdefault(keyword[:3] if len(keyword) >= 3 else "", []).append(keyword)
    return keywords


def _is_random(text: str) -> bool:
    """Whether the text is not only words or a number."""
    digits, uppers, lowers = (
        sum(is_of(c) for c in text) for is_of in (str.isdigit, str.isupper, str.islower)
    )
    if digits >= 2 and uppers >= 2 and lowers >= 2:
        return True
    run = max(re.split(r"[^A-Za-z0-9]+", text), key=len, default="")
    has_mix = any(c.isdigit() for c in run) or (run != run.lower() and run != run.upper())
    return len(run) >= 24 or (len(run) >= 12 and has_mix and not run.isdigit())


@cache
def _by_keyword() -> dict[str, list[_Rule]]:
    rules: dict[str, list[_Rule]] = {}
    for given in _given_rules():
        for rule in _variants(given):
            for keyword in (*given["keywords"], *_MORE_KEYWORDS.get(given["id"], ())):
                rules.setdefault(keyword.lower(), []).append(rule)
    for keyword, form in _ALONE.items():
        rules.setdefault(keyword, []).append(_Rule(f"{_STARTS}{form}{_ENDS}", 0, 0.0, has_name=False))
    for prefix in _MORE_PREFIXES:
        # Whatever the length: vendors change the length of their tokens, and not the prefix.
        pattern = rf"{_STARTS}{re.escape(prefix)}([A-Za-z0-9_+/=.~%-]{{{_MIN_AFTER_PREFIX},400}}+)"
        rules.setdefault(prefix.lower(), []).append(_Rule(pattern, 0, 0.0, has_name=False, after_prefix=True))
    return rules


def _given_rules() -> list[dict[str, Any]]:
    stored = json.loads(Path(__file__).with_name("gitleaks.json").read_text("utf-8"))
    given: list[dict[str, Any]] = stored["rules"]
    return given


def _variants(given: dict[str, Any]) -> Iterator[_Rule]:
    """The rule for Python."""
    pattern = given["regex"].replace(_BEFORE_NAME, "").replace(_BEFORE, _STARTS).replace(_AFTER, _ENDS)
    has_name = _BETWEEN in pattern
    pattern = _for_python(pattern.removesuffix(_END) + (_ENDS if pattern.endswith(_END) else ""))
    if not has_name:
        pattern = re.sub(r"^(\(\?i\))?\\b", lambda match: (match[1] or "") + _STARTS, pattern)
    entropy = float(given.get("entropy", 0))
    yield _Rule(pattern, int(given.get("secretGroup", _value_group(pattern))), entropy, has_name)


def _value_group(pattern: str) -> int:
    """The first group that captures, or 0: gitleaks takes it as the secret."""
    return 1 if re.search(r"(?<!\\)\((?!\?)", pattern) else 0


def _for_python(pattern: str) -> str:
    """A pattern of Go's RE2 for Python, which allows (?i) only at the beginning or for a group of its own."""
    for go, python in _POSIX.items():
        pattern = pattern.replace(go, python)
    while (at := pattern.find("(?i)", 1)) > 0:
        end = _end_of_group(pattern, at)
        pattern = f"{pattern[:at]}(?i:{pattern[at + 4 : end]}){pattern[end:]}"
    return pattern


def _end_of_group(pattern: str, at: int) -> int:
    """The index at which the group that contains `at` ends, or the end of the pattern."""
    depth, is_class, place = 0, False, at
    while place < len(pattern):
        character = pattern[place]
        if character == "\\":
            place += 1
        elif is_class:
            is_class = character != "]"
        elif character == "[":
            is_class = True
        elif character == "(":
            depth += 1
        elif character == ")":
            depth -= 1
            if depth < 0:
                return place
        place += 1
    return len(pattern)
