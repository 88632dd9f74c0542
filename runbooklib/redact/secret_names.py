"""Which names are names of secrets: of environment variables, settings, JSON keys and `name=value` in text.

This is the only rule. Redaction, settings files and the environment's secrets use it.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

# DB_PASSWORD, apiKey, api-key and APIKEY are DB PASSWORD, api Key, api key and APIKEY.
_NAME_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_SECRET_WORD = re.compile(
    r".*(?:passw|passphrase|secret|credential|webhook|kennwort|contrasena|senha|wachtwoord|mnemonic).*"
    r"|.*(?:keys?|tokens?|pass|passcode|pwd|pw|creds?|auth|authorization|dsn|cookies?|jwt|session|salt)"
    r"|.*sess(?:ion)?id|bearer|csrf|xsrf|otp|totp|pat|psk|sas"
)
_ORDINARY_WORDS = frozenset(
    "deauth monkey donkey turkey jockey hockey bypass compass encompass surpass basalt secretary".split()
)
# PUBLIC_KEY, primaryKey, hotkey: these keys open nothing.
_ORDINARY_KEYS = frozenset(
    "public publishable primary foreign unique composite partition shard sharding sort group routing cache "
    "row object lookup dedup deduplication idempotency label metric map dict hot short arrow get tag".split()
)
# A name that ends with one of these words only describes a secret: PASS_RATE, KEY_COUNT, KeyError.
_DESCRIPTIONS = frozenset(
    "address age alg algorithm avg backend bits bytes class column count counter counts days desktop "
    "disabled domain driver enabled engine env error errors exception expiration expires expiry field "
    "format functions header host hours httponly index interval kind len length lifetime limit manager "
    "max method min minutes mode ms name names optional policy port prefix provider rate ratio required "
    "retries samesite schema scheme seconds secure server service "
    "size sock socket state status store strategy "
    "activity context controller event events fail failed failure filter handler info interceptor listener "
    "path queue queueing record request response task thread tracker windows worker "
    "suffix sum through timeout total ttl type user username version".split()
)
# A language model's tokens are counted: MAX_TOKENS, prompt_tokens.
_COUNTED_TOKENS = frozenset(
    "max min limit count num budget per total prompt completion input output used remaining cached "
    "reasoning generated".split()
)


# Words of other languages for password, key and token.
_OTHER_SCRIPTS = re.compile("密码|口令|密钥|秘钥|令牌|пароль|пароля|비밀번호|パスワード")
# Under these words stand secrets as well as ordinary values: a value counts that looks random.
_PERHAPS = frozenset(
    "hook hooks signature sig seed license licence assertion verifier unseal signing hmac "
    "private grant routing".split()
)


def is_random(text: str, at_least: int = 8) -> bool:
    """Whether the text looks random: letters and digits mixed, or both cases mixed in one long run."""
    if len(text) < at_least or text.startswith(("[redacted:", "/", "$", "{", "<")):
        return False
    has_digit, has_letter = any(c.isdigit() for c in text), any(c.isalpha() for c in text)
    if has_digit and has_letter:
        return True
    runs = re.split(r"[^A-Za-z0-9]+", text)
    return any(len(run) >= 12 and _CASES.search(run) is not None for run in runs)


_CASES = re.compile(r"[a-z][A-Z].*[a-z][A-Z].*[a-z][A-Z]")
_FILE = re.compile(r"(?:[./~]|\w:\\).*|.*\.(?:pem|key|crt|cer|json|ya?ml|txt|conf|p12|jks|env|pub|log|py|sh)")


def is_secret_flag(name: str, value: str) -> bool:
    """Whether the value after `--name` on a command line is a secret, and no file, flag or variable."""
    if value.startswith(("-", "$", "[redacted:", "<", "{")) or _FILE.fullmatch(value):
        return False
    if not is_secret_pair(name, value):
        return False
    return is_random(value) or not _is_ordinary_alone(name.rpartition("-")[2])


@lru_cache(4096)
def sounds_secret(name: str) -> bool:
    """Whether the value of an environment variable, a setting or a JSON key with this name may be a secret.

    Of a path, the last part is the name. An ambiguous name counts as the name of a secret.
    """
    if _OTHER_SCRIPTS.search(name):
        return True
    words = [word.lower() for word in _NAME_PART.findall(name.rpartition("/")[2])]
    if not words or words[-1] in _DESCRIPTIONS:
        return False
    pairs = zip(["", *words[:-1]], words, strict=True)
    return any(_is_secret_word(word, before, words) for before, word in pairs)


def _is_secret_word(word: str, before: str, words: Sequence[str]) -> bool:
    if word in _ORDINARY_WORDS or not _SECRET_WORD.fullmatch(word):
        return False
    if word == "tokens":
        return _COUNTED_TOKENS.isdisjoint(words)
    key = re.fullmatch(r"(.*)keys?", word)
    return key is None or (key[1] or before) not in _ORDINARY_KEYS


_NOT_SECRET = re.compile(r"(?i)true|false|none|null|yes|no|on|off")
_DIGEST = re.compile("[0-9a-f]{64}")
_COUNT = re.compile(r"\d+(?:\.\d+)?")
# `pass: 11` is a count of passed tests, and secret="db-creds" is the name of a Kubernetes secret.
_SPACE = re.compile(r"\s")
_SMALL_COUNT = re.compile(r"\d{1,5}")
_KUBERNETES_NAME = re.compile(r"[a-z]+(?:-[a-z]+)+")


# An address in memory, and how Java and Android show an object: 0x14ed93, a.b.Proxy@2bd79ce, Token{9f4ef63
_OBJECT = re.compile(r"0x[0-9a-fA-F]{1,16}|(?:[a-z]\w*\.)+[A-Z][\w$]*@[0-9a-f]{4,8}|[A-Z]\w*\{.*")
_STATUS_CODE = re.compile(r"\d\.\d{1,3}\.\d{1,3}")
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,20}://.*")
_SHORT_NUMBER = re.compile(r"-?\d{1,4}")
_TWO_NUMBERS = re.compile(r"\d+:\d+")
_STRONG = re.compile("(?i)passw|pwd|secret|credential|passphrase|passcode|webhook")


def _is_value_of_a_program(name: str, value: str) -> bool:
    """Whether a program shows an object, an address or a code there, and no secret. A password may be all."""
    if _STRONG.search(name):
        return False
    if name.lower() == "dsn":
        return _STATUS_CODE.fullmatch(value) is not None
    if name.endswith("Key") and _SHORT_NUMBER.fullmatch(value):
        return True  # NSErrorCodeKey=-2102
    is_url_of_key = name.lower().endswith("key") and _URL.fullmatch(value) is not None
    return is_url_of_key or bool(_OBJECT.fullmatch(value) or _TWO_NUMBERS.fullmatch(value))


def _is_prose(name: str, between: str, value: str) -> bool:
    """Whether `name: word` is a part of a sentence: its name is one word, and its value is not random."""
    if not name.isalpha() or not (name.islower() or name.istitle()):
        return False
    if ":" not in between or not between.endswith((" ", "\t")) or _STRONG.search(name):
        return False
    return not is_random(value) and len(value) < _MIN_LONG and value.isprintable()


_MIN_LONG = 20


def is_secret_pair(name: str, value: str) -> bool:
    """Whether this value under this name is a secret.

    Numbers under a plural name are counts; under a path, a SHA-256 is the digest of a file.
    """
    if name.startswith("/") and _DIGEST.fullmatch(value):
        return False
    if name.lower() in ("pass", "passes") and _SMALL_COUNT.fullmatch(value):
        return False
    if name == "secret" and _KUBERNETES_NAME.fullmatch(value):
        return False
    if _is_value_of_a_program(name, value):
        return False
    words = {word.lower() for word in _NAME_PART.findall(name)}
    if not words.isdisjoint(_PERHAPS) and not sounds_secret(name):
        return is_random(value, 16) and not _SPACE.search(value)
    is_count = name.lower().endswith("s") and not name.lower().endswith("pass") and _COUNT.fullmatch(value)
    return bool(sounds_secret(name) and not is_count and not _NOT_SECRET.fullmatch(value))


# In a sentence ("key: value") these are ordinary words; in capital letters they are settings.
_ORDINARY_ALONE = frozenset("key keys auth session salt tokens pat bearer otp sas webhook webhooks".split())
# Possessive quantifiers, and no name that begins inside another name: a line of a megabyte is read once.
_NAME = re.compile(r"""(?<![\w-])([\w-]++)(\\*+["']?)\s*+(?:=>|:=|[=:])\s*+""")
# Some("…"), SecretStr('…'), ["…"]: what programs write around a value.
_WRAPPER = re.compile(r"""(?:(?:&?[A-Za-z_][\w.:<>]{0,40})?[(\[{]\s{0,9}){1,3}(?=b?\\*["'])""")
_QUOTED = re.compile(r"""b?\\*["']([^"']{2,})["']""")
_BARE = re.compile(r"""(?i:(?:bearer|basic|token|digest|negotiate)[ \t]+)?((?:[^\s"'&,;})]|'(?=\w)){2,})""")
_NUMBER = re.compile(r"([\w.+-]{2,})")
_UP_TO_SPACE = re.compile(r"""[^\s&'"]+""")


def _is_ordinary_alone(name: str) -> bool:
    return name.lower() in _ORDINARY_ALONE and not name.isupper()


@lru_cache(4096)
def _may_be_secret(name: str) -> bool:
    words = {word.lower() for word in _NAME_PART.findall(name)}
    return sounds_secret(name) or not words.isdisjoint(_PERHAPS)


def secret_spans(text: str) -> Iterator[tuple[int, int, str]]:
    """The start, end and quotes of each secret value of `name=value` or `name: value`, quoted or not.

    The quotes are those that the replacement needs: those of the name for a number in JSON, otherwise "".
    """
    at = 0
    while name := _NAME.search(text, at):
        at = name.end()
        if _is_ordinary_alone(name[1]) or not _may_be_secret(name[1]):
            continue
        wrapper = _WRAPPER.match(text, at)
        quoted = _QUOTED.match(text, wrapper.end() if wrapper else at)
        value = quoted or (_NUMBER if name[2] else _BARE).match(text, at)
        if not value or (
            not quoted and not name[2] and _is_prose(name[1], name[0][len(name[1]) :], value[1])
        ):
            continue
        if is_secret_pair(name[1], value[1].rstrip("\\")):
            yield *value.span(1), "" if quoted else name[2]
            at = value.end()


def values_with_secret_names(text: str) -> Iterator[str]:
    """The secrets in a DSN, a connection string or JSON; if the end is ambiguous, in both lengths."""
    for start, end, _ in secret_spans(text):
        yield text[start:end]
        longer = _UP_TO_SPACE.match(text, start)
        if longer:
            yield longer[0]
