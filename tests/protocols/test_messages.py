"""What members of a run say: signatures hold for one network and one purpose; impossible fields are refused."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from swarmd.protocols.checkpoint import MAX_LAYERS, MAX_STEP
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import BlobHash, PeerId, RunId, SpecId
from swarmd.protocols.messages import (
    MAX_WORDS,
    Accepted,
    Beat,
    BlobHead,
    Checkpointed,
    Declined,
    Evaluated,
    Failed,
    Finished,
    Halt,
    Halted,
    LinkTicket,
    Profiled,
    Ready,
    Release,
    StepDone,
    TakeBlob,
    real,
    words,
)
from swarmd.protocols.records import to_value
from swarmd.protocols.registry import Registry
from swarmd.protocols.signing import sign
from swarmd.protocols.statements import (
    MAX_REPLICAS,
    MAX_STAGES,
    Plan,
    RunStatement,
    StageAssignment,
    open_plan,
    open_run,
    sign_plan,
    sign_run,
)
from tests.protocols.keys import NETWORK, OTHER_NETWORK, who

ME, OTHER = who(1), who(2)
STATEMENT = RunStatement(NETWORK, SpecId("1" * 64), ME.peer, bytes(16), 1_700_000_000)
FIRST = StageAssignment(ME.peer, 0, 2, 1, ("/ip4/192.0.2.1/tcp/4001",))
SECOND = StageAssignment(OTHER.peer, 2, 3, 4, ())
TWO = tuple(replace(FIRST, peer=peer, service=1000 + at) for at, peer in enumerate(sorted((ME.peer, OTHER.peer))))
SECOND_OF_THREE = replace(SECOND, peer=who(3).peer)
PLAN = Plan(RunId("2" * 64), 1, 1, (FIRST, SECOND), BlobHash("3" * 64))
PROFILE = Profiled(1, 1, 1, 1, 0, "native")
BEAT = Beat(1, 2, 3, 4, 5, 6, 7, 8, 9, 10)


def test_a_run_statement_survives_the_wire_and_names_its_run() -> None:
    assert open_run(sign_run(STATEMENT, ME.sign), NETWORK) == STATEMENT
    assert STATEMENT.run != replace(STATEMENT, nonce=bytes(15) + b"\1").run


@pytest.mark.parametrize(
    "statement", [replace(STATEMENT, submitter=OTHER.peer), replace(STATEMENT, network=OTHER_NETWORK)]
)
def test_a_run_statement_of_another_or_of_another_network_is_refused(statement: RunStatement) -> None:
    with pytest.raises(ProtocolViolation):
        open_run(sign_run(statement, ME.sign), NETWORK)


def test_a_statement_inside_anothers_envelope_is_refused() -> None:
    raw = sign("swarmd/run/1", NETWORK, OTHER.peer, OTHER.sign, to_value(STATEMENT)).to_bytes()
    with pytest.raises(ProtocolViolation, match="another than its submitter"):
        open_run(raw, NETWORK)


def test_a_plan_is_believed_from_its_coordinator_only() -> None:
    raw = sign_plan(PLAN, NETWORK, ME.peer, ME.sign)
    assert open_plan(raw, NETWORK, ME.peer) == PLAN
    for network, coordinator in ((NETWORK, OTHER.peer), (OTHER_NETWORK, ME.peer)):
        with pytest.raises(ProtocolViolation):
            open_plan(raw, network, coordinator)
    with pytest.raises(ProtocolViolation):
        open_plan(sign_plan(PLAN, NETWORK, ME.peer, OTHER.sign), NETWORK, ME.peer)


@pytest.mark.parametrize(
    "changes",
    [
        {"stages": ()},
        {"stages": (SECOND, FIRST)},
        {"stages": (FIRST, replace(SECOND, first=1))},
        {"stages": (FIRST, replace(SECOND, peer=ME.peer))},
        {"term": 0},
        {"number": 0},
        {"stages": (FIRST,) * (MAX_STAGES + 1)},
        {"stages": (replace(FIRST, service=5), SECOND)},
        {"stages": (*TWO[::-1], SECOND_OF_THREE)},
        {"stages": (*TWO, *TWO)},
        {"stages": (TWO[0], replace(TWO[1], service=0), SECOND_OF_THREE)},
        {"stages": (TWO[0], replace(TWO[1], end=1), SECOND_OF_THREE)},
        {"stages": (TWO[0], SECOND_OF_THREE, TWO[1])},
        {"stages": tuple(replace(TWO[0], peer=PeerId(f"peer{at}")) for at in range(MAX_REPLICAS + 1))},
    ],
)
def test_an_impossible_plan_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"stages|stage"):
        replace(PLAN, **changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"first": -1},
        {"end": 0},
        {"end": MAX_LAYERS + 1},
        {"credit": 0},
        {"addresses": ("/ip4/192.0.2.1/tcp/4001",) * 17},
        {"addresses": ("not an address",)},
        {"service": -1},
        {"service": 1 << 40},
    ],
)
def test_an_impossible_stage_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="stage"):
        replace(FIRST, **changes)


def test_places_with_the_same_layers_are_replicas_of_one_stage() -> None:
    shared = replace(PLAN, stages=(*TWO, SECOND_OF_THREE))
    assert shared.groups == (range(2), range(2, 3))
    assert shared.shared
    assert not PLAN.shared
    assert open_plan(sign_plan(shared, NETWORK, ME.peer, ME.sign), NETWORK, ME.peer) == shared


@pytest.mark.parametrize("text", ["nan", "inf", "1", "0x1p3", "1e5", "0." + "1" * 40])
def test_a_number_has_one_spelling(text: str) -> None:
    assert real("-0.25") == -0.25
    with pytest.raises(ValueError, match=r"repr|spelled|convert"):
        real(text)


def test_words_travel_as_one_printable_line() -> None:
    assert words("two\nlines \x1b[2J\ud800") == "two lines  [2J "
    assert len(words("x" * 5000)) == MAX_WORDS
    assert words(words("a\tb")) == words("a\tb")


IMPOSSIBLE: list[tuple[type[Any], tuple[Any, ...]]] = [
    (RunStatement, (NETWORK, SpecId("1" * 64), ME.peer, bytes(15), 0)),
    (Release, ("x" * (MAX_WORDS + 1),)),
    (Release, ("\x1b[2J",)),
    (Declined, ("no", "\n")),
    (Failed, ("code", "two\nlines", "")),
    (Accepted, (-1, 1)),
    (Accepted, (30, 1 << 62)),
    (Profiled, (0, 1, 1, 1, 0, "")),
    (Profiled, (1, 1, 1, 1, -1, "")),
    (Profiled, (1, 1, 1, 1, 0, "x" * 201)),
    (Profiled, (1, 1, 1, 1, 0, "\a")),
    (Ready, (MAX_STEP,)),
    (StepDone, (-1, None, ())),
    (StepDone, (1, None, ("1.0",) * (MAX_LAYERS + 3))),
    (StepDone, (1, "nan", ())),
    (Evaluated, (0, "inf")),
    (Halted, (4, 5)),
    (Halted, (4, -1)),
    (Checkpointed, (MAX_STEP, ())),
    (LinkTicket, (bytes(31), bytes(32), 1)),
    (LinkTicket, (bytes(32), bytes(32), 65536)),
]


@pytest.mark.parametrize(("kind", "fields"), IMPOSSIBLE)
def test_impossible_fields_are_refused(kind: type[Any], fields: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - each says its own
        kind(*fields)


@pytest.mark.parametrize("field", ["number", "step", "micro_batches", "busy_ns", "forward_ns", "cpu_ns", "bytes_sent"])
def test_a_beat_has_no_negative_figures(field: str) -> None:
    with pytest.raises(ValueError, match="negative"):
        replace(BEAT, **{field: -1})


POSSIBLE = (
    PROFILE,
    BEAT,
    Release("enough"),
    Accepted(30, 1),
    Declined("no", "wait"),
    Ready(0),
    StepDone(1, "0.5", ("1.0",)),
    StepDone(1, None, ()),
    Evaluated(0, "5.5"),
    Checkpointed(5, ()),
    Halt(),
    Halted(7, 6),
    Finished(7),
    Failed("run_failed", "why", ""),
    LinkTicket(bytes(32), bytes(32), 4001),
    BlobHead(5, LinkTicket(bytes(32), bytes(32), 4001)),
    BlobHead(-1),
    TakeBlob(False),
)


@pytest.mark.parametrize("message", POSSIBLE)
def test_what_is_possible_survives_the_wire(message: object) -> None:
    registry = Registry(type(message))
    assert registry.decode(registry.encode(message)) == message
