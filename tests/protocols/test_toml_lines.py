"""Where keys stand in a TOML text."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.toml_lines import first_lines, key_lines, line_of, repeated

TEXT = '''# a comment = 1
title = "x # [no] = 1"   # [comment]
dotted . "key" = 1
[model]  # = 3
layers = [
  1, # ]
  [2, 3],
]
heads = 4
text = """
[fake]
heads = "" \\""" 5
""" # done
raw = \'\'\'
\\'\'\'
after = 1
[a.'b c'.d]
"esc\\u0061ped" = {inner = 1, other = "}"}
last = 2
'''


def test_every_key_is_found_on_its_line() -> None:
    tomllib.loads(TEXT)
    assert first_lines(TEXT) == {
        "title": 2,
        "dotted": 3,
        "dotted.key": 3,
        "model": 4,
        "model.layers": 5,
        "model.heads": 9,
        "model.text": 10,
        "model.raw": 14,
        "model.after": 16,
        "a": 17,
        "a.b c": 17,
        "a.b c.d": 17,
        "a.b c.d.escaped": 18,
        "a.b c.d.last": 19,
    }


@pytest.mark.parametrize(
    ("name", "line"), [("model.heads", 9), ("a.b c.d.escaped.inner", 18), ("model.none", 4), ("none.x", 1)]
)
def test_a_key_that_is_not_found_stands_where_its_table_does(name: str, line: int) -> None:
    assert line_of(first_lines(TEXT), name) == line


def test_a_key_with_an_escape_that_toml_does_not_know_stands_as_written() -> None:
    assert first_lines('a = 1\n"\\q" = 2\n') == {"a": 1, '"\\q"': 2}


def test_headers_and_keys_are_told_apart() -> None:
    assert [(found.name, found.header) for found in key_lines("[a]\nb = 1\n[[c]]\nd = 2")] == [
        ("a", True),
        ("a.b", False),
        ("c", True),
        ("c.d", False),
    ]


def test_the_first_repeat_is_found() -> None:
    found = repeated("[a]\nb = 1\n[c]\nb = 1\n[a]\nb = 2\n")
    assert found is not None
    assert [(key.name, key.line) for key in found] == [("a", 1), ("a", 5)]
    assert repeated(TEXT) is None


def test_carriage_returns_do_not_count_as_lines() -> None:
    assert first_lines("a = 1\r\nb = 2\r\n") == {"a": 1, "b": 2}


@given(st.text(alphabet="ab.=[]{}\"'\\#\n ,1", max_size=60))
@settings(max_examples=300, deadline=None)
def test_top_level_keys_of_any_toml_text_are_found(text: str) -> None:
    lines = first_lines(text)
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        return
    assert {key for key in document if "." not in key and key} <= lines.keys()
