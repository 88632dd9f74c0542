"""Secrets by what stands beside them or by their own form, and personal data."""

import hashlib
import re
from collections.abc import Callable, Iterable

from runbooklib.redact.private_keys import PRIVATE_KEY
from runbooklib.redact.secret_names import is_random, is_secret_flag, secret_spans, sounds_secret


def tag(value: str) -> str:
    """The replacement of a secret: 16 bits of its digest, enough to compare, too few to guess the secret."""
    return f"[redacted:{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()[:4]}]"


# No card number begins with the first digits of a current time in milli-, micro- or nanoseconds.
_CARD_ISSUER = re.compile(r"[3-6]|2[2-7]")


def _luhn(digits: str) -> bool:
    doubled = [int(d) * (1 + i % 2) for i, d in enumerate(reversed(digits))]
    return sum(d - 9 if d > 9 else d for d in doubled) % 10 == 0


def _card(match: re.Match[str]) -> str:
    digits = re.sub(r"\D", "", match[0])
    return tag(digits) if _CARD_ISSUER.match(digits) and _luhn(digits) else match[0]


def _group(number: int) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        secret = match[number].rstrip("\\")  # in JSON inside JSON, backslashes escape the closing quote
        if not secret or secret.startswith("[redacted:"):
            return match[0]
        start = match.start(number) - match.start()
        return f"{match[0][:start]}{tag(secret)}{match[0][start + len(secret) :]}"

    return replace


def without_spans(text: str, spans: Iterable[tuple[int, int]]) -> str:
    """The text with a tag for each span. Spans may overlap; what is already a tag stays."""
    parts, at = [], 0
    for start, end in sorted(spans, key=lambda span: (span[0], -span[1])):
        secret = text[start:end].rstrip("\\")
        if start >= at and secret and not secret.startswith(("[redacted:", "redacted:")):
            parts += [text[at:start], tag(secret)]
            at = start + len(secret)
    return "".join([*parts, text[at:]])


def without_pairs(text: str) -> str:
    """The text without the values of `name=value` and `name: value` if the name is that of a secret."""
    parts, at = [], 0
    for start, end, quotes in secret_spans(text):
        secret = text[start:end].rstrip("\\")  # in JSON inside JSON, backslashes escape the closing quote
        if secret and not secret.startswith("[redacted:"):
            parts += [text[at:start], quotes, tag(secret), quotes]
            at = start + len(secret)
    return "".join([*parts, text[at:]])


def _if(is_secret: Callable[[re.Match[str]], bool], number: int) -> Callable[[re.Match[str]], str]:
    """Replace the group if the function says that it is a secret."""
    replace = _group(number)
    return lambda match: replace(match) if is_secret(match) else match[0]


def _is_flag(match: re.Match[str]) -> bool:
    return is_secret_flag(match[1], match[2])


def _is_element(match: re.Match[str]) -> bool:
    return sounds_secret(match[1])


def _is_random(number: int) -> Callable[[re.Match[str]], bool]:
    return lambda match: is_random(match[number])


def _is_login(match: re.Match[str]) -> bool:
    return not match[0].rpartition(":")[0].rpartition(" ")[2].strip("'\"").isdigit() or not match[1].isdigit()


_SEGMENT = re.compile(r"[^/?#\s\"'<>]+")


def _hook(match: re.Match[str]) -> str:
    """The path of a webhook without its tokens. The address of a webhook is a password."""
    path = _SEGMENT.sub(lambda part: tag(part[0]) if is_random(part[0], 16) else part[0], match[1])
    return f"{match[0][: match.start(1) - match.start()]}{path}"


# A password may contain / @ and ': the last @ that a host follows ends it. A port is no password.
_USERINFO_END = r"""((?:[^\s"'<>\\]|'(?=\w)(?![^\s]*'@?[,\])])){1,256})"""
URL_PASSWORD = re.compile(rf"""://[^\s/:@'"?#]*:(?!\d{{1,5}}(?:[/?#]|$)){_USERINFO_END}@(?=[\w.\[\]:%-])""")
_BIRTHDAY = r"(?:19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
_UNIT = r"\s?(?:bytes|B|[nuµm]?s)\b"
# Each pattern begins with rare text or has a length limit: a hostile line of a megabyte must be fast.
# It is tried only on a text that contains one of the words before it (in lower case; none: always).
Shape = tuple[tuple[str, ...], re.Pattern[str], Callable[[re.Match[str]], str]]
_AUTHORIZATION = r"\b(?:proxy-)?auth(?:orization|entication)\\*[\"']?\s{0,9}(?:=>|[:=])\s{0,9}\\*[\"']?"
_VALUE = r"""(?:\\*["'])?([^\s"'\\,;]{2,400})"""
SECRET_SHAPES: tuple[Shape, ...] = (
    (("private key",), PRIVATE_KEY, _group(0)),
    (("://",), URL_PASSWORD, _group(1)),
    (("://",), re.compile(r"://(?=[A-Za-z_-]{0,400}\d)([A-Za-z0-9_-]{16,400})@"), _if(_is_random(1), 1)),
    (("port",), re.compile(r"(?i)\bport:? ['\"]([^\s'\"@]+)@"), _group(1)),
    (
        ("auth",),
        re.compile(
            rf"(?i){_AUTHORIZATION}"
            r"(?:digest|oauth|hawk|signature|(?:aws4|acs\d?|tc3|sdk|hmac)-[\w-]{1,40})[ \t]+"
            r"((?:[\w-]{1,40}=)?(?:\"[^\"]{0,400}\"|[^\s\"',;]{1,400})"
            r"(?:,[ ]?[\w-]{1,40}=(?:\"[^\"]{0,400}\"|[^\s,\"']{1,400})){0,9})"
        ),
        _group(1),
    ),
    (
        ("auth",),
        re.compile(
            rf"(?i){_AUTHORIZATION}(?!(?:basic|bearer)\b)[a-z][\w-]{{1,30}}[ \t]+"
            r"(?!\w[\w-]{0,60}(?::|=[^=\s\"']))([^\s\"',;]{2,})"
        ),
        _group(1),
    ),
    (("bearer",), re.compile(r"(?i)\bbearer\s+([A-Za-z0-9._~+/=-]{8,})"), _group(1)),
    (("basic",), re.compile(r"\b(?i:basic)\s+(?=\S*(?:\d|=|[a-z][A-Z]))([A-Za-z0-9+/=_-]{8,})"), _group(1)),
    (
        ("eyj",),
        re.compile(r"(?<![A-Za-z0-9_-])eyJ[A-Za-z0-9_-]{6,}\.[A-Za-z0-9_-]{4,}\.[A-Za-z0-9_-]*"),
        _group(0),
    ),
    (("akia", "asia"), re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"), _group(0)),
    (
        ("sk-", "sk_", "pk-", "pk_", "rk-", "rk_", "ghp", "gho", "ghs", "glpat", "xox"),
        re.compile(r"\b(?:sk|pk|rk|ghp|gho|ghs|glpat|xox[abp])[-_][A-Za-z0-9_-]{12,}"),
        _group(0),
    ),
    (
        ("cookie",),
        re.compile(r"(?i)(?<![a-z])cookie2?\\*[\"']?\s*:\s*\\*[\"']?([^\s\"'][^\r\n\"']*)"),
        _group(1),
    ),
    (("password",), re.compile(r"(?i)\bpassword\s+'([^']+)'"), _group(1)),
    (("identified",), re.compile(r"(?i)\bidentified\s+by\s+(?:password\s+)?'([^']+)'"), _group(1)),
    (
        ("?", "&"),
        re.compile(r"(?i)[?&](?:[a-z-]{0,40}sig(?:nature)?|key|auth|jwt|code)=([^\s\"'&#]{2,})"),
        _group(1),
    ),
    # A webhook's address, and keys between slashes.
    (
        ("hook",),
        re.compile(
            r"(?i)(?:/(?:incoming)?-?(?:web)?-?hooks?(?:b2)?/|\bhooks?\.[\w.-]{1,60}/)([^\s\"'<>?#]{8,400})"
        ),
        _hook,
    ),
    (
        ("/token", "/key", "/api", "/secret", "/auth", "/access", "/integration/", "/ping/"),
        re.compile(
            r"(?i)/(?:tokens?|keys?|api-?_?keys?|secrets?|auth|access_?-?tokens?|integration|ping)/"
            r"([^/\s?#\"'<>]{8,400})"
        ),
        _if(_is_random(1), 1),
    ),
    (
        (":aa",),
        re.compile(r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))(?:bot)?(\d{6,12}:AA[A-Za-z0-9_-]{20,60})"),
        _group(1),
    ),
    # The command line.
    (("-",), re.compile(rf"(?<![\w-])--?([A-Za-z][\w.-]{{1,60}})[ \t]+{_VALUE}"), _if(_is_flag, 2)),
    (
        ("-u", "-user"),
        re.compile(r"(?<![\w-])(?:-u|--user|--proxy-user)[ =]['\"]?[^\s:'\"/]{1,64}:([^\s'\"]{2,200})"),
        _if(_is_login, 1),
    ),
    (
        ("mysql", "mariadb"),
        re.compile(r"\b(?:mysql\w{0,9}|mariadb)\b[^\n|;]{0,200}? -p([^\s'\"]{4,200})"),
        _group(1),
    ),
    (
        ("sshpass", "login"),
        re.compile(
            r"\b(?:sshpass|(?:docker|podman|helm|oc|az|nerdctl)[^\n|;]{0,40} login)\b"
            r"[^\n|;]{0,200}? -p ?([^\s'\"-][^\s'\"]{3,200})"
        ),
        _group(1),
    ),
    (("redis-cli",), re.compile(r"\bredis-cli\b[^\n|;]{0,200}? -a ([^\s'\"]{2,200})"), _group(1)),
    (("ldap",), re.compile(r"\bldap\w{1,9}\b[^\n|;]{0,200}? -w ([^\s'\"]{2,200})"), _group(1)),
    (("pass:",), re.compile(r"\bpass:([^\s'\"]{4,200})"), _if(_is_random(1), 1)),
    # Settings without a sign between name and value.
    (
        ("requirepass", "masterauth", "bindpw", "rootpw", "sasl_passwd"),
        re.compile(
            r"(?i)(?<![\w-])(?:requirepass|masterauth|bindpw|rootpw|sasl_passwd)[ \t]+([^\s'\"]{2,200})"
        ),
        _group(1),
    ),
    (
        ("password", "passwd", "auth", "secret", "token"),
        re.compile(
            r"(?i)(?<![\w-])(?:password|passwd|AUTH|secret|token)[ \t]+(?:is |was )?['\"]?([^\s'\"]{6,200})"
        ),
        _if(_is_random(1), 1),
    ),
    (("</",), re.compile(r"<([\w:.-]{2,60})(?:\s[^<>]{0,100})?>([^<>]{2,400})</"), _if(_is_element, 2)),
    (
        ("value",),
        re.compile(
            r"(?i)\b(?:name|key)\\*[\"']?\s{0,9}[:=]\s{0,9}\\*[\"']?([\w.-]{3,60})\\*[\"']?[,\s]{1,9}\\*[\"']?"
            r"value\\*[\"']?\s{0,9}[:=]\s{0,9}\\*[\"']?([^\s\"'\\,]{2,400})"
        ),
        _if(_is_element, 2),
    ),
)
PERSONAL_SHAPES: tuple[Shape, ...] = (
    (
        (),
        re.compile(
            r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]+(?:@|%40)(?:[A-Za-z0-9-]{1,63}\.){1,9}[A-Za-z]{2,24}\b"
        ),
        _group(0),
    ),
    ((), re.compile(rf"(?<![\w.])\d{{6}}{_BIRTHDAY}\d{{3}}[\dXx](?!\w|\.\d)"), _group(0)),
    ((), re.compile(r"(?<![\w.-])(?:\d[ -]?){12,18}\d(?!\w|[.-]\w)"), _card),
    (
        (),
        re.compile(
            rf"(?<![\w.])(?:(?:\+|00)86[ -]?|86[ -])?1[3-9]\d([ -]?)\d{{4}}\1\d{{4}}(?!\w|\.\d|{_UNIT})"
        ),
        _group(0),
    ),
)
