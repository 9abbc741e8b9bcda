from __future__ import annotations

import json

import pytest

from nastk.jsontext import MAX_DEPTH, parse


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "Expecting"),
        (b"\xff", "decode"),
        ("NaN", "NaN is no JSON number"),
        ("[-Infinity]", "-Infinity is no JSON number"),
        ('{"a": 1, "a": 2}', "a key stands twice"),
        ("[" * 100_000, "nested too deeply"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), "nested too deeply"),
        ("[1,2,3,4,5,6]", "more than 5 values"),
        (b"[[],{},[]]", "more than 5 values"),
        ("9" * 5000, "digits"),
    ],
)
def test_what_is_beyond_the_limits_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text, unique=True, values=5 if len(text) < 50 else 10**6)


@pytest.mark.parametrize(
    "document", [None, 1.5, "a,b", {"a": [1, {"b": None}]}, [[[]]], {"a": 1, "b": 2}]
)
def test_what_is_within_them_is_what_json_says(document: object) -> None:
    text = json.dumps(document)
    assert parse(text, unique=True, values=5, depth=3) == document
    assert parse(text.encode(), values=5, depth=3) == document
