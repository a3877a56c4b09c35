"""Records: frozen dataclasses as tuples, read strictly."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.records import ADDED, from_value, to_value


@dataclass(frozen=True, slots=True)
class Inner:
    count: int

    def __post_init__(self) -> None:
        if self.count < 0:
            raise ValueError("negative")


@dataclass(frozen=True, slots=True)
class Outer:
    run: RunId
    peer: PeerId
    flag: bool
    maybe: int | None
    inner: Inner
    many: tuple[Inner, ...]
    raw: bytes


GOOD = Outer(RunId("ab" * 32), PeerId("p"), True, None, Inner(1), (Inner(2), Inner(3)), b"x")
VALUE = ("ab" * 32, "p", True, None, (1,), ((2,), (3,)), b"x")


def test_a_record_is_the_tuple_of_its_fields():
    assert to_value(GOOD) == VALUE
    assert from_value(Outer, VALUE) == GOOD
    assert from_value(Outer, decode(encode(to_value(GOOD)), limit=1000)) == GOOD


def test_an_optional_field_takes_its_type_too():
    assert from_value(Outer, (*VALUE[:3], 7, *VALUE[4:])).maybe == 7


@pytest.mark.parametrize(
    "value",
    [
        None,
        VALUE[:-1],
        (*VALUE, 1),
        ("AB" * 32, *VALUE[1:]),
        (1, *VALUE[1:]),
        (*VALUE[:1], b"p", *VALUE[2:]),
        (*VALUE[:2], 1, *VALUE[3:]),  # an int is not a bool
        (*VALUE[:3], "7", *VALUE[4:]),
        (*VALUE[:3], True, *VALUE[4:]),  # nor a bool an int
        (*VALUE[:4], 1, *VALUE[5:]),
        (*VALUE[:5], 1, *VALUE[6:]),
        (*VALUE[:5], ((2,), 3), *VALUE[6:]),
        (*VALUE[:6], "x"),
    ],
)
def test_anything_else_is_refused(value):
    with pytest.raises(ProtocolViolation):
        from_value(Outer, value)


def test_a_value_out_of_range_names_its_record():
    with pytest.raises(ProtocolViolation, match="Inner: negative"):
        from_value(Outer, (*VALUE[:4], (-1,), *VALUE[5:]))


@dataclass(frozen=True, slots=True)
class Grown:
    """A record that had one field at first."""

    first: int
    second: int = field(default=0, metadata=ADDED)
    third: bool = field(default=False, metadata=ADDED)


@pytest.mark.parametrize(
    ("record", "value"),
    [(Grown(1), (1,)), (Grown(1, 2), (1, 2)), (Grown(1, 0, True), (1, 0, True)), (Grown(1, 2, True), (1, 2, True))],
)
def test_fields_that_came_later_are_left_out_while_they_have_their_defaults(record, value):
    assert to_value(record) == value
    assert from_value(Grown, value) == record


@pytest.mark.parametrize("value", [(1, 0), (1, 2, False), (1, 0, False)])
def test_a_record_is_written_in_one_way_only(value):
    with pytest.raises(ProtocolViolation, match="writes out a default that is left out"):
        from_value(Grown, value)


@pytest.mark.parametrize("value", [(), (1, 2, True, 3), (1, "2"), (True,)])
def test_later_fields_are_read_as_strictly_as_others(value):
    with pytest.raises(ProtocolViolation):
        from_value(Grown, value)


@given(st.binary(max_size=100))
def test_random_bytes_raise_nothing_else(raw: bytes):
    with pytest.raises(ProtocolViolation):
        from_value(Outer, decode(raw, limit=100))
