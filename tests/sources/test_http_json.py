import json

import pytest

from runbooklib.errors import NonsenseError
from runbooklib.sources import strict_json


def test_what_is_deep_but_not_absurd_is_read() -> None:
    deepest = strict_json.MAX_DEEP
    assert strict_json.read(b"[" * deepest + b"]" * deepest)
    with pytest.raises(NonsenseError, match="more than 64 deep"):
        strict_json.read(b"[" * (deepest + 1) + b"]" * (deepest + 1))


def test_bytes_that_are_no_text_stay_as_escapes() -> None:
    assert strict_json.read(b'{"caf\xe9": "\xf0\x9f\x98\x80"}') == {"caf\\xe9": "\U0001f600"}


def test_a_lone_surrogate_in_json_becomes_text_that_can_be_stored() -> None:
    told = strict_json.read(b'{"\\ud800": ["\\udc00", "\\ud83d\\ude00"]}')
    assert told == {"\\ud800": ["\\udc00", "\U0001f600"]}
    json.dumps(told, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 200_000 + b"]" * 200_000,
        b"[" * 100 + b"]" * 100,
        b'{"a":' * 100 + b"1" + b"}" * 100,
        b"9" * 5_000,
        b'{"a": 1, "a": 2}',
        b"[NaN]",
        b"",
        b"<html>",
        b"\xff",
    ],
    ids=["200k deep", "100 deep", "100 objects", "5000 digits", "key twice", "NaN", "empty", "html", "bytes"],
)
def test_absurd_json_is_nonsense(body: bytes) -> None:
    with pytest.raises(NonsenseError) as caught:
        strict_json.read(body, system="prometheus", target="http://p:9090")
    assert len(str(caught.value)) < 400
    assert caught.value.__suppress_context__
