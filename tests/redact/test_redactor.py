import base64
import json
import pprint
import random
from time import thread_time
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from runbooklib.redact.redactor import Redactor, encodings, tag

SECRETS = ["correct horse/battery+staple", 'pa"ss\\wörd\n', "hunter22", "密码密码", "a%b&c=d e", "x" * 40]


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize(
    "encode",
    [
        str,
        json.dumps,
        lambda s: json.dumps(s, ensure_ascii=False),
        repr,
        lambda s: quote(s, safe=""),
        quote_plus,
        lambda s: s.encode().hex(),
        lambda s: s.encode().hex().upper(),
    ],
)
def test_a_known_secret_is_taken_out_in_every_encoding(secret: str, encode: Any) -> None:
    told = Redactor([secret]).text(f"before {encode(secret)} after")
    assert tag(secret) in told
    assert encode(secret).strip("\"'") not in told
    assert told.startswith("before ")
    assert told.endswith(" after")


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("encode", [base64.b64encode, base64.urlsafe_b64encode])
@pytest.mark.parametrize("before", [b"", b"a", b"ab", b"abc", b"user:"])
@pytest.mark.parametrize("after", [b"", b"z", b"zz", b"zzz"])
def test_a_known_secret_is_taken_out_of_base64_at_every_alignment(
    secret: str, encode: Any, before: bytes, after: bytes
) -> None:
    told = Redactor([secret]).text(encode(before + secret.encode() + after).decode())
    assert tag(secret) in told
    left = told.split(tag(secret))
    assert all(len(part) <= len(before + after) * 2 + 6 for part in left), told


def test_equal_secrets_get_equal_tags_and_others_get_others() -> None:
    told = Redactor(["hunter22"]).text("hunter22 password=hunter22 password=hunter23")
    assert told == f"{tag('hunter22')} password={tag('hunter22')} password={tag('hunter23')}"
    assert tag("hunter22") != tag("hunter23")


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("postgresql://app:s3cr3t@db:5432/x", "s3cr3t"),
        ("https://u:p@ss@host/x", "p@ss"),
        ("Authorization: Bearer abcdef123456", "abcdef123456"),
        ("authorization: basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "eyJzdWIiOiIxIn0"),
        ("key AKIAIOSFODNN7EXAMPLE used", "AKIAIOSFODNN7EXAMPLE"),
        ("OPENAI sk-proj-abcdefghijklmnop", "sk-proj-abcdefghijklmnop"),
        ("ghp_abcdefghijklmnopqrst", "ghp_abcdefghijklmnopqrst"),
        ("DB_PASSWORD=s3cr3t", "s3cr3t"),
        ("SECRET_KEY=s3cr3t", "s3cr3t"),
        ("password: 's3 cr 3t'", "s3 cr 3t"),
        ('{"api_key": "s3cr3t"}', "s3cr3t"),
        (r'{"log": "{\"password\": \"s3cr3t\"}"}', "s3cr3t"),
        ("X-Api-Key: s3cr3t", "s3cr3t"),
        ("?token=s3cr3t&x=1", "s3cr3t"),
        ("ALTER ROLE app PASSWORD 's3cr3t'", "s3cr3t"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----", "MIIE"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE cut off", "MIIE"),
        ("mail to ann.lee+x@mail.example.com now", "ann.lee+x@mail.example.com"),
        ("card 4111 1111 1111 1111.", "4111 1111 1111 1111"),
        ("card 4111-1111-1111-1111", "4111-1111-1111-1111"),
        ("call 13912345678.", "13912345678"),
        ("call +8613912345678", "13912345678"),
        ("call +86 139-1234-5678", "139-1234-5678"),
        ("call 139 1234 5678", "139 1234 5678"),
        ("?mail=ann.lee%40mail.example.com&x", "ann.lee%40mail.example.com"),
        ("password = b's3cr3t'", "s3cr3t"),
        ("pw='s3cr3t'", "s3cr3t"),
        ("/x?X-Amz-Signature=0a1b2c&y", "0a1b2c"),
        ("/x?a=1&key=0a1b2c&y", "0a1b2c"),
        ("nonnumeric port: 's3cr3t@127.0.0.1'", "s3cr3t"),
        ("id 11010519491231002X.", "11010519491231002X"),
    ],
)
def test_what_has_the_shape_of_a_secret_is_taken_out(text: str, secret: str) -> None:
    told = Redactor().text(text)
    assert secret not in told
    assert "[redacted:" in told


@pytest.mark.parametrize(
    "text",
    [
        "1700000000.123",
        "4111111111111111",
        "17179869184",
        "1.7e+09",
        "-0.5",
        "NaN",
        "+Inf",
        "mem_limit=17179869184 bytes of 34359738368 bytes",
        "took 15000000000 ns",
        "2026-01-15T03:12:00.123456+00:00",
        "2026-01-15 03:12:00,123 INFO started",
        "2026-01-15 2026-01-16 2026-01-17",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "4fa6e0f0c678",
        "123456789012",
        "request 123e4567-e89b-12d3-a456-426614174000 done",
        "request 41111111-1111-1111-4111-111111111111 done",
        "10.0.0.1:5432 -> 192.168.100.200:65535",
        "order 123456789012345678 shipped",
        'http_requests_total{job="backend",path="/health"} 17',
        'password authentication failed for user "app"',
        "basic information and bearer bonds",
        "backend@sha256:9f86",
        "https://grafana.example/d/x?from=now-1h&to=now",
        "{'max_tokens': 4096}",
    ],
)
def test_what_is_no_secret_is_not_damaged(text: str) -> None:
    assert Redactor(["hunter22"]).text(text) == text


def test_times_of_every_resolution_are_not_taken_for_cards() -> None:
    redactor = Redactor()
    for n in range(200):
        text = f"ts={1767225600000 + n} us={1767225600000000 + n} ns={1767225600000000000 + n}."
        assert redactor.text(text) == text


@pytest.mark.parametrize("value", [17179869184, 4111111111111111, 0.5, True, None, [1700000000.1, "0.25"]])
def test_numbers_in_json_stay_numbers(value: Any) -> None:
    assert Redactor().json({"value": value}) == {"value": value}


def test_keys_that_are_called_like_secrets_hide_their_values() -> None:
    told = Redactor().json(
        {
            "db_password": "a b c",
            "apiKey": 12345678,
            "credentials": ["x1", {"user": "ann", "secret": "y"}],
            "token": None,
            "password": "",
            "is_secret": True,
        }
    )
    assert told == {
        "db_password": tag("a b c"),
        "apiKey": tag("12345678"),
        "credentials": [tag("x1"), {"user": "ann", "secret": tag("y")}],
        "token": None,
        "password": "",
        "is_secret": True,
    }


def test_secrets_are_found_in_keys_lists_and_tuples() -> None:
    told = Redactor(["hunter22"]).json({"hunter22": [("a", "hunter22"), {"x": "-hunter22-"}]})
    known = tag("hunter22")
    assert told == {known: [["a", known], {"x": f"-{known}-"}]}


@pytest.mark.parametrize(
    "text", ["hunter22", "password=hunter22", '{"password": "hunter22"}', "u://a:hunter22@b/"]
)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    redactor = Redactor(["hunter22"])
    once = redactor.text(text)
    assert redactor.text(once) == once
    assert redactor.json({"password": tag("x")}) == {"password": tag("x")}


@pytest.mark.parametrize("secret", ["caf\udce9-secret", "\ud800\udfff-secret", "secret-\udfff"])
def test_lone_surrogates_neither_crash_nor_leak(secret: str) -> None:
    redactor = Redactor([secret])
    assert redactor.text(f"x {secret}") == f"x {tag(secret)}"
    assert redactor.json({secret: [secret], "password": "\ud800"}) == {
        tag(secret): [tag(secret)],
        "password": tag("\ud800"),
    }
    assert "\ud800abc" not in Redactor().text("password=\ud800abc")
    assert tag(secret).isascii()


def test_a_secret_too_short_to_be_told_from_a_word_is_left_alone() -> None:
    assert Redactor(["abc", ""]).text("abc") == "abc"
    assert all(len(form) >= 4 for form in encodings("abcd"))


LONG = "c4n4ry-0123456789-abcdefghijklmnop"


@pytest.mark.parametrize(
    "text",
    [
        base64.encodebytes(b"x" * 50 + LONG.encode() + b"y" * 50).decode(),
        json.dumps(base64.encodebytes(b"x" * 51 + LONG.encode()).decode()),
        json.dumps(json.dumps(base64.encodebytes(b"x" * 52 + LONG.encode()).decode().replace("\n", "\r\n"))),
        pprint.pformat(base64.b64encode(b"x" * 48 + LONG.encode()), width=40),
        LONG.encode().hex(" "),
        LONG.encode().hex(":").upper(),
        "".join(f"\\x{byte:02x}" for byte in LONG.encode())[2:],
    ],
)
def test_a_secret_is_found_across_the_breaks_of_its_lines_and_groups(text: str) -> None:
    told = Redactor([LONG]).text(text)
    assert tag(LONG) in told
    assert len(told) < len(text)
    assert not [n for n in range(0, 40, 8) if base64.b64encode(LONG.encode()).decode()[n : n + 8] in told]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"{LONG[:12]}...", f"{tag(LONG)}..."),
        (f"{LONG[:8]}\u2026 and", f"{tag(LONG)}\u2026 and"),
        (f"...{LONG[-9:]}", f"...{tag(LONG)}"),
        (f"{LONG[:10]}...{LONG[-10:]} {LONG[:7]}...", f"{tag(LONG)}...{tag(LONG)} {LONG[:7]}..."),
        (f"{LONG[:12]} then ...", f"{LONG[:12]} then ..."),
        ("wait ...", "wait ..."),
    ],
)
def test_what_cuts_a_secret_short_does_not_leave_its_beginning(text: str, told: str) -> None:
    assert Redactor([LONG]).text(text) == told


@pytest.mark.parametrize("place", range(1, len(LONG)))
def test_a_secret_that_two_pieces_share_is_in_neither(place: int) -> None:
    told = Redactor([LONG]).pieces([f"a {LONG[:place]}", f"{LONG[place:]} b", "c"])
    assert "".join(told) == f"a {tag(LONG)} bc"
    assert len(told) == 3


def test_pieces_without_a_secret_between_them_stay_apart() -> None:
    assert Redactor([LONG]).pieces(["a ", f"b{LONG}", "c"]) == ["a ", f"b{tag(LONG)}", "c"]
    assert Redactor([LONG]).piece(f"x {LONG[:20]}") == f"x {tag(LONG)}"
    assert Redactor([LONG]).piece(f"y\n{LONG[10:]} x {LONG[:15]}") == f"y\n{tag(LONG)} x {LONG[:15]}"
    assert Redactor([LONG]).text(f"x {LONG[:10]}") == f"x {LONG[:10]}"


def test_what_the_site_itself_tells_is_allowed_and_nothing_else() -> None:
    redactor = Redactor()
    redactor.allow(["call 13912345678 or mail oncall@mail.example.com"])
    told = redactor.text("13912345678 13912345679 oncall@mail.example.com password=13912345678")
    assert told.startswith("13912345678 [redacted:")
    assert "oncall@mail.example.com" in told


def test_a_redactor_does_not_show_what_it_knows() -> None:
    assert "hunter22" not in repr(Redactor(["hunter22"]))


HOSTILE = {
    "letters": ("a", ""),
    "dots": ("a.", ""),
    "dashes": ("a-", ""),
    "digits": ("1", ""),
    "digits, then a letter": ("1", "x"),
    "digits after a dot, then a letter": ("1", ".1x"),
    "digits and dashes": ("1-", ""),
    "digits and spaces": ("4 ", ""),
    "base64": ("kJ3+/0aZ", "="),
    "web tokens": ("eyJ-", ""),
    "half addresses": ("x@a.", ""),
    "mail domains": ("b.", "@"),
    "open quotes": ('pass="\\', ""),
    "passwords": ("pass=", ""),
    "passwords without values": ("password=", " "),
    "passwords and spaces": ("password ", "="),
    "users": ("://a:", ""),
    "basic": ("basic ", ""),
    "keys begun": ("-----BEGIN", ""),
    "keys begun and named": ("-----BEGIN PRIVATE KEY-----", ""),
    "a key that never ends": ("-----END ", "-----BEGIN PRIVATE KEY-----"),
    "spaces": (" ", "x"),
}


def seconds_for(length: int, line: str, end: str) -> float:
    text, redactor, taken = line * (length // len(line)) + end, Redactor(["hunter22"]), []
    for _ in range(3):
        begun = thread_time()
        redactor.text(text)
        taken.append(thread_time() - begun)
    return min(taken)


@pytest.mark.parametrize(("line", "end"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_line_takes_no_more_than_its_length(line: str, end: str) -> None:
    once, fourfold = seconds_for(10_000, line, end), seconds_for(40_000, line, end)
    assert fourfold / once < 8  # a quadratic pattern has 16


def test_a_megabyte_of_base64_takes_less_than_a_breath() -> None:
    text = base64.b64encode(random.Random(7).randbytes(750_000)).decode()
    begun = thread_time()
    Redactor(["hunter22"]).text(text)
    assert thread_time() - begun < 2
