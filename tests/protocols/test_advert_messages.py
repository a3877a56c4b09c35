"""Messages about adverts: bounded, and small enough for one reply."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.advert import MAX_ADVERT_BYTES
from swarmd.protocols.advert_messages import MAX_BATCH, Adverts, GetAdvert, KnownAdverts, OwnAdvertIs
from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.framing import MAX_MESSAGE_BYTES
from swarmd.protocols.registry import Registry

MESSAGES = Registry(GetAdvert, OwnAdvertIs, KnownAdverts, Adverts)
TOO_MUCH = bytes(MAX_ADVERT_BYTES + 1)


def test_the_largest_batch_fits_into_a_message():
    batch = Adverts((bytes(MAX_ADVERT_BYTES),) * MAX_BATCH, "x" * 60)
    raw = MESSAGES.encode(batch)
    assert len(raw) <= MAX_MESSAGE_BYTES
    assert MESSAGES.decode(raw) == batch


@pytest.mark.parametrize("message", [GetAdvert(b"ours"), OwnAdvertIs(b""), KnownAdverts("x" * 60, 1)])
def test_a_question_and_its_answer_survive_the_wire(message):
    assert MESSAGES.decode(MESSAGES.encode(message)) == message


@pytest.mark.parametrize(
    "value",
    [
        ("GetAdvert", (TOO_MUCH,)),
        ("OwnAdvertIs", (TOO_MUCH,)),
        ("KnownAdverts", ("", 0)),
        ("KnownAdverts", ("", MAX_BATCH + 1)),
        ("KnownAdverts", ("x" * 61, 1)),
        ("Adverts", ((b"",) * (MAX_BATCH + 1), "")),
        ("Adverts", ((TOO_MUCH,), "")),
        ("Adverts", ((), "x" * 61)),
    ],
    ids=lambda value: value[0],
)
def test_more_than_is_allowed_is_refused(value):
    with pytest.raises(ProtocolViolation):
        MESSAGES.decode(encode(value))


NAMES = st.sampled_from(["GetAdvert", "OwnAdvertIs", "KnownAdverts", "Adverts"])
PARTS = st.binary(max_size=9) | st.text(max_size=9) | st.integers(0, 99) | st.lists(st.binary()).map(tuple)


@given(NAMES, st.lists(PARTS, max_size=3).map(tuple))
def test_random_records_raise_nothing_else(name, record):
    with suppress(ProtocolViolation):
        MESSAGES.decode(encode((name, record)))
