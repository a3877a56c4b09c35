"""Whatever bytes arrive, a decoder gives a message or says ProtocolViolation; nothing else, and soon."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.control import _parse
from swarmd.network import MAIN
from swarmd.protocols.canonical import Value, encode
from swarmd.protocols.checkpoint import Checkpoint, UnitState, parse_checkpoint
from swarmd.protocols.control import CONTROL_VERSION
from swarmd.protocols.errors import ProtocolViolation, UsageError
from swarmd.protocols.ids import BlobHash, RunId
from swarmd.protocols.ledger.receipts import CountersignedReceipt, LinkReceipt, sign_receipt
from swarmd.protocols.ledger.vouchers import LaneRelease, Voucher, sign_release, sign_voucher
from swarmd.protocols.messages import (
    FROM_COORDINATOR,
    FROM_MEMBER,
    MAX_SESSION_MESSAGE,
    Accepted,
    Beat,
    BlobHead,
    Checkpointed,
    Declined,
    GetBlob,
    LinkTicket,
    Offer,
    OpenLink,
    Profiled,
    Release,
    StepDone,
    TakeBlob,
)
from swarmd.protocols.pay_messages import (
    AskRelease,
    GetVoucher,
    GiveRelease,
    LaneClosing,
    LaneReleased,
    LastReceipts,
    NewestVoucher,
    Receipted,
    ReceiptsDone,
    Terms,
    VoucherNote,
)
from swarmd.protocols.records import to_value
from swarmd.protocols.registry import Registry
from swarmd.protocols.spec import parse_spec
from swarmd.protocols.speccheck import check_spec
from swarmd.protocols.statements import Plan, RunStatement, StageAssignment, open_plan, open_run, sign_plan, sign_run
from tests.protocols.keys import who
from tests.protocols.specs import SPEC

BLOB, RUN, ME = BlobHash("1" * 64), RunId("2" * 64), who(1)
UNITS = tuple(UnitState(name, BLOB, BLOB) for name in ("embed", "layers.0", "layers.1", "head"))
CHECKPOINT = Checkpoint(2, UNITS)
STATEMENT = sign_run(RunStatement(MAIN.id, SPEC.spec_id, ME.peer, bytes(16), 1), ME.sign)
PLAN = sign_plan(Plan(RUN, 1, 1, (StageAssignment(ME.peer, 0, 2, 1, ()),), BLOB), MAIN.id, ME.peer, ME.sign)
OTHER = who(2)
RECEIPT = LinkReceipt(run=RUN, term=1, boundary=1, first_step=1, end_step=9, forwards=24, backwards=24, root=bytes(32))
SIGNED, BOTH = (
    sign_receipt(RECEIPT, MAIN.id, ME.peer, ME.sign),
    CountersignedReceipt(
        sign_receipt(RECEIPT, MAIN.id, ME.peer, ME.sign), sign_receipt(RECEIPT, MAIN.id, OTHER.peer, OTHER.sign)
    ),
)
VOUCHER = sign_voucher(
    Voucher(payer=ME.peer, lane=1, run=RUN, provider=OTHER.peer, number=1, total=5, work_root=bytes(32)),
    MAIN.id,
    ME.sign,
)
RELEASE = sign_release(LaneRelease(ME.peer, 1, OTHER.peer, 5), MAIN.id, OTHER.sign)
PAY_RPC = (GetVoucher, NewestVoucher, GiveRelease, LaneClosing)
ANY = Registry(*FROM_COORDINATOR, *FROM_MEMBER, GetBlob, BlobHead, TakeBlob, OpenLink, LinkTicket, *PAY_RPC)
MESSAGES = (
    Offer(STATEMENT, SPEC.to_bytes(), 1),
    Release("over"),
    Accepted(30, 1),
    Declined("no", ""),
    Profiled(1, 1, 1, 1, 0, "native"),
    StepDone(1, "0.5", ("1.0", "2.0")),
    Checkpointed(2, UNITS),
    Beat(1, 2, 3, 4, 5, 6, 7, 8, 9),
    GetBlob(RUN, BLOB),
    OpenLink(RUN, 1, 1, 0, 1),
    LinkTicket(bytes(32), bytes(32), 4001),
    BlobHead(5, LinkTicket(bytes(32), bytes(32), 4001)),
    TakeBlob(True),
    Terms(price=5, pay_every=8, lane=1, cap=100, expires=1_800_000_000, max_unpaid_steps=24),
    Receipted(SIGNED),
    VoucherNote(VOUCHER, (BOTH,), 24, 24),
    LastReceipts(),
    ReceiptsDone(),
    AskRelease(5),
    LaneReleased(RELEASE),
    GetVoucher(1),
    NewestVoucher(VOUCHER, True),
    GiveRelease(RELEASE),
    LaneClosing(),
)

Decoder = Callable[[bytes], object]


def message(raw: bytes) -> object:
    return ANY.decode(raw, MAX_SESSION_MESSAGE)


def spec(raw: bytes) -> object:
    check_spec(parsed := parse_spec(raw))
    return parsed


DECODERS: dict[str, tuple[Decoder, tuple[bytes, ...]]] = {
    "message": (message, tuple(ANY.encode(each) for each in MESSAGES)),
    "spec": (spec, (SPEC.to_bytes(), replace(SPEC, seed=7).to_bytes())),
    "checkpoint": (parse_checkpoint, (CHECKPOINT.to_bytes(),)),
    "run statement": (lambda raw: open_run(raw, MAIN.id), (STATEMENT,)),
    "plan": (lambda raw: open_plan(raw, MAIN.id, ME.peer), (PLAN,)),
}

VALUES: st.SearchStrategy[Value] = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=70) | st.text(max_size=70),
    lambda part: st.lists(part, max_size=8).map(tuple),
    max_leaves=24,
)


def only_violations(decoder: Decoder, raw: bytes) -> None:
    try:
        decoder(raw)
    except ProtocolViolation as violation:
        assert violation.message  # noqa: PT017 - a message decoded by chance is fine too


@pytest.mark.parametrize("name", DECODERS)
def test_what_is_real_is_read(name: str) -> None:
    decoder, real = DECODERS[name]
    for raw in real:
        assert decoder(raw)


@pytest.mark.slow
@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=150, derandomize=True, deadline=None)
@given(raw=st.binary(max_size=600))
def test_random_bytes_are_a_violation(name: str, raw: bytes) -> None:
    only_violations(DECODERS[name][0], raw)


@pytest.mark.slow
@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=150, derandomize=True, deadline=None)
@given(data=st.data())
def test_a_real_message_with_bytes_changed_is_a_violation_or_another_message(name: str, data: st.DataObject) -> None:
    decoder, real = DECODERS[name]
    raw = bytearray(data.draw(st.sampled_from(real)))
    for place in data.draw(st.lists(st.integers(0, len(raw) - 1), min_size=1, max_size=4)):
        raw[place] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(raw)))
    only_violations(decoder, bytes(raw))
    only_violations(decoder, bytes(raw[:cut]))


@pytest.mark.slow
@pytest.mark.parametrize("name", DECODERS)
@settings(max_examples=200, derandomize=True, deadline=None)
@given(value=VALUES)
def test_canonical_values_of_any_shape_are_a_violation_or_a_message(name: str, value: Value) -> None:
    only_violations(DECODERS[name][0], encode(value))


@pytest.mark.slow
@settings(max_examples=300, derandomize=True, deadline=None)
@given(choice=st.sampled_from(MESSAGES), data=st.data())
def test_a_field_of_another_kind_is_a_violation(choice: object, data: st.DataObject) -> None:
    fields = to_value(choice)
    assert isinstance(fields, tuple)
    if not fields:
        return
    place = data.draw(st.integers(0, len(fields) - 1))
    bent = (*fields[:place], data.draw(VALUES), *fields[place + 1 :])
    only_violations(message, encode((type(choice).__name__, bent)))


REQUEST = {"v": CONTROL_VERSION, "method": "job", "params": {"run": "abc"}}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda part: st.lists(part, max_size=4) | st.dictionaries(st.text(max_size=8), part, max_size=4),
    max_leaves=12,
)


@pytest.mark.slow
@settings(max_examples=300, derandomize=True, deadline=None)
@given(line=st.binary(max_size=200) | JSON.map(lambda value: json.dumps(value).encode()), field=JSON, data=st.data())
def test_a_control_request_is_read_or_a_usage_error(line: bytes, field: object, data: st.DataObject) -> None:
    bent = {**REQUEST, data.draw(st.sampled_from(sorted(REQUEST))): field}
    for raw in (line, json.dumps(bent).encode()):
        try:
            name, params = _parse(raw)
        except UsageError:
            continue
        assert isinstance(name, str)
        assert isinstance(params, dict)
