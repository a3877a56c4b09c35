"""The wire that "auto" stands for: the least lossy one whose uplink time fits under the compute time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.protocols.codecs import WIRES
from swarmd.protocols.ids import PeerId
from swarmd.protocols.jobtables import RunTable, WireTable
from swarmd.protocols.spec import WireSpec
from swarmd.protocols.work import backward_operations, forward_operations
from swarmd.scheduler.wires import Declared, choose_wire, settled, wire_words
from tests.protocols.specs import SPEC

JOB = replace(SPEC, model=replace(SPEC.model, hidden_size=128, num_hidden_layers=4))
ANY, AUTO = RunTable(min_stages=1, max_stages=None), WireTable(codec="auto")
OPERATIONS = forward_operations(JOB, 0, 4) + backward_operations(JOB, 0, 4)
TOKENS = JOB.batch.sequence_length * JOB.batch.micro_batch_size
BYTES = {"raw": 1024, "bf16": 512, "int8": 264, "int8/int4": 200, "int4": 136}
"""A token, there and back, at width 128."""


def peers(uplink: float, count: int = 3, flops: int = 10**9) -> list[Declared]:
    """Equal peers, the first of which has this uplink."""
    return [Declared(PeerId(f"peer-{n}"), flops, uplink if n == 0 else 10 * uplink) for n in range(count)]


def enough_for(name: str, count: int = 3) -> float:
    """The uplink that just carries a wire, in bytes a second."""
    return BYTES[name] * TOKENS / (OPERATIONS / (count * 10**9))


@pytest.mark.parametrize("name", WIRES)
def test_the_least_lossy_wire_that_fits_is_chosen(name: str) -> None:
    assert choose_wire(JOB, AUTO, ANY, peers(enough_for(name) * 1.01)).name == name


def test_where_none_fits_the_smallest_is_chosen_and_said_to_be_too_much() -> None:
    choice = choose_wire(JOB, AUTO, ANY, peers(enough_for("int4") / 2))
    assert choice.name == "int4"
    assert "which is over the" in choice.reason


def test_the_reason_names_the_slowest_uplink_and_the_times() -> None:
    reason = choose_wire(JOB, AUTO, ANY, peers(enough_for("int8"))).reason
    assert reason.startswith("the uplink of ")
    assert "peer-0"[-8:] in reason
    assert "that 3 stages compute; raw would need" in reason


def test_two_stages_send_one_direction_each() -> None:
    one_way = 264 / 2 * TOKENS / (OPERATIONS / (2 * 10**9))
    assert choose_wire(JOB, AUTO, ANY, peers(one_way * 1.01, 2)).name == "int8"


def test_a_longer_pipeline_computes_less_a_stage_and_needs_more_of_its_links() -> None:
    uplink = enough_for("raw") * 1.01
    assert choose_wire(JOB, AUTO, ANY, peers(uplink, 4)).name == "bf16"
    assert choose_wire(JOB, AUTO, RunTable(min_stages=1, max_stages=3), peers(uplink, 4)).name == "raw"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ([], "one stage sends nothing"),
        (peers(1.0, 1), "one stage sends nothing"),
        ([*peers(1.0, 1), Declared(PeerId("unmeasured"), 0, 1.0)], "one stage sends nothing"),
        (peers(0.0), "no peer declares an uplink"),
    ],
)
def test_without_links_nothing_is_lost(members: list[Declared], reason: str) -> None:
    choice = choose_wire(JOB, AUTO, ANY, members)
    assert (choice.name, choice.reason) == ("raw", reason)


def test_stages_that_a_lossy_wire_has_no_room_for_are_not_taken_away() -> None:
    table, three = WireTable(codec="auto", boundaries=(2,)), RunTable(min_stages=3, max_stages=None)
    assert choose_wire(JOB, table, three, peers(1.0)).reason == "a lossy codec leaves room for 2 stages only"
    flat = replace(JOB, model=replace(JOB.model, num_hidden_layers=1))
    assert choose_wire(flat, AUTO, ANY, peers(1.0)).name == "raw"


def test_what_was_chosen_is_in_the_spec_and_in_words() -> None:
    spec, words = settled(JOB, AUTO, ANY, peers(enough_for("int8/int4") * 1.01))
    assert spec.wire == WireSpec(forward="int8", backward="int4", boundaries=(1, 2, 3))
    assert spec == replace(JOB, wire=spec.wire)
    assert words.startswith("wire int8/int4: 132 bytes a token there, 68 back; 3 boundaries, every layer (chosen: the")


def test_in_subspace_form_the_coefficients_and_the_token_s_id_are_what_is_sent() -> None:
    narrow = replace(JOB, model=replace(JOB.model, subspace=32))
    words = "wire raw: 130 bytes a token there, 128 back; stages may be cut anywhere; subspace of 32 in 128"
    assert wire_words(narrow) == words
    assert choose_wire(JOB, AUTO, ANY, peers(enough_for("raw") / 3)).name == "int8"
    assert choose_wire(narrow, AUTO, ANY, peers(enough_for("raw") / 3)).name == "raw"


def test_a_narrow_subspace_is_warned_of() -> None:
    narrow = replace(JOB, model=replace(JOB.model, subspace=16))
    assert wire_words(narrow).endswith(
        "; subspace of 16 in 128: so narrow a one costs loss; compare with a model without it"
    )


def test_what_a_job_names_stays_as_it_is() -> None:
    for boundaries, where in (((2,), "one boundary, every 2 layers"), ((1, 2, 3), "3 boundaries, every layer")):
        named = replace(JOB, wire=WireSpec(forward="bf16", backward="bf16", boundaries=boundaries))
        assert settled(named, WireTable(codec="bf16"), ANY, peers(1.0)) == (named, wire_words(named))
        assert wire_words(named) == f"wire bf16: 256 bytes a token there, 256 back; {where}"
    assert wire_words(JOB) == "wire raw: 512 bytes a token there, 512 back; stages may be cut anywhere"
