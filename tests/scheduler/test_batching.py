"""How a step is cut where the job leaves it open: enough micro-batches for the links, and no more."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.batchtable import BatchTable
from swarmd.protocols.ids import PeerId
from swarmd.protocols.jobtables import RunTable, WireTable
from swarmd.protocols.spec import JobSpec
from swarmd.scheduler.batching import NOBODY, Swarm, batch_words, candidates, choose_batch, cut_alone, for_one_sequence
from swarmd.scheduler.profiles import WorkerProfile
from swarmd.scheduler.settling import Wishes, settle
from swarmd.scheduler.wires import Declared
from tests.protocols.specs import SPEC

JOB = replace(
    SPEC,
    model=replace(SPEC.model, hidden_size=64, num_hidden_layers=4, max_position_embeddings=128),
    data=replace(SPEC.data, held_out=()),
)
"""Of which no text is known."""
LENGTH = 128
ANY = RunTable(min_stages=1, max_stages=None)
FOUR = RunTable(min_stages=4, max_stages=4)


def table(sequences: int, **fields: int) -> BatchTable:
    """``[batch]`` that names the sequences of a step alone."""
    return BatchTable(sequence_length=LENGTH, sequences=sequences, **fields)


def swarm(
    round_trip: float = 0.0, *, count: int = 4, layer: float = 0.01, memory: int = 1 << 34, uplink: float = 0.0
) -> Swarm:
    """Equal peers that compute one layer of one sequence in ``layer`` seconds."""
    workers = tuple(
        WorkerProfile(
            peer=PeerId(f"peer-{number}"),
            seconds_per_layer=layer,
            seconds_embed=0.0,
            seconds_head=0.0,
            memory_bytes=memory,
            uplink_bytes_per_s=uplink,
        )
        for number in range(count)
    )
    return Swarm(workers, lambda _, __: round_trip)


def sizes(sequences: int, run: RunTable, among: Swarm, spec: JobSpec = JOB) -> int:
    return choose_batch(spec, table(sequences), run, among).size


def test_one_process_takes_the_smallest_micro_batch_whose_fixed_cost_is_small() -> None:
    choice = choose_batch(JOB, table(256), ANY, NOBODY)
    assert (choice.size, choice.count) == (16, 16)
    assert choice.reason == "the smallest within 5% of the fastest, in one process"
    assert cut_alone(JOB, table(256)) == table(256).applied(JOB, 16)
    assert cut_alone(JOB, BatchTable(sequence_length=LENGTH, micro_batch_size=1, micro_batches=4)) == JOB


def test_more_delay_asks_for_more_micro_batches() -> None:
    assert [sizes(64, FOUR, swarm(delay)) for delay in (0.0, 0.05, 10.0)] == [2, 2, 1]
    assert sizes(64, ANY, swarm(count=1)) == 16


def test_a_fast_device_gets_larger_micro_batches_than_a_slow_one() -> None:
    assert sizes(1024, FOUR, swarm(0.001, layer=1e-5)) > sizes(1024, FOUR, swarm(0.001, layer=0.1))


def test_the_reason_compares_with_the_smallest_and_the_largest() -> None:
    reason = choose_batch(JOB, table(64), FOUR, swarm(0.05)).reason
    assert reason.startswith("4 stages would take ")
    assert "s in micro-batches of 64" in reason
    alone = choose_batch(JOB, table(1), ANY, swarm(count=1))
    assert alone.reason == "1 stage would take 0.063 s a step, 100% of it at work"


def test_a_pipeline_that_cannot_be_filled_wants_more_sequences() -> None:
    assert choose_batch(JOB, table(2), FOUR, swarm(0.1)).reason.endswith(
        "; more sequences a step would fill the pipeline better"
    )


def test_a_step_that_memory_does_not_hold_says_how_many_sequences_would_fit() -> None:
    reason = choose_batch(JOB, table(256), ANY, swarm(memory=1 << 26)).reason
    before, fits = reason.split("sequences = ")
    assert before == "no pipeline of these peers holds so many sequences; "
    number = int(fits.removesuffix(" would fit"))
    assert 0 < number < 256
    assert "would take" in choose_batch(JOB, table(number), ANY, swarm(memory=1 << 26)).reason


@pytest.mark.parametrize(
    ("run", "among", "words"),
    [
        (FOUR, swarm(count=3), "a pipeline of 4 or more stages cannot be made: there are 3 usable peers"),
        (ANY, swarm(memory=1), "no plan fits yet: the model does not fit the peers' memory"),
    ],
)
def test_where_no_plan_fits_the_reason_says_what_is_short(run: RunTable, among: Swarm, words: str) -> None:
    choice = choose_batch(JOB, table(64), run, among)
    assert words in choice.reason
    assert choice.size == choose_batch(JOB, table(64), ANY, NOBODY).size


def test_thousands_of_micro_batches_are_not_simulated_one_by_one() -> None:
    one = choose_batch(JOB, BatchTable(sequence_length=LENGTH, sequences=4093), FOUR, swarm(0.05))
    assert (one.size, one.count) == (1, 4093)


def test_stale_steps_need_fewer_micro_batches() -> None:
    stale = replace(JOB, schedule=replace(JOB.schedule, async_after=JOB.optimizer.warmup_steps))
    assert sizes(16, FOUR, swarm(0.05), stale) >= sizes(16, FOUR, swarm(0.05))


class TestCandidates:
    def test_at_most_one_for_each_power_of_two(self) -> None:
        assert candidates(JOB, table(12)) == (1, 2, 4, 12)
        assert len(candidates(JOB, table(720720))) <= 13

    def test_an_evaluation_in_the_chosen_size_must_find_its_windows(self) -> None:
        for tokens, found in ((40 * LENGTH + 1, (1, 2, 4, 8, 16, 32)), (5, (1,))):
            shard = replace(SPEC.data.held_out[0], tokens=tokens)
            short = replace(JOB, data=replace(SPEC.data, held_out=(shard,)))
            assert candidates(short, table(256)) == found


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 300),
    st.sampled_from([0.0, 0.02, 0.3]),
    st.integers(0, 4),
    st.sampled_from([1e-5, 1e-2]),
    st.integers(20, 34),
)
def test_any_swarm_gets_a_whole_cut_whatever_the_order_of_its_peers(
    sequences: int, delay: float, count: int, layer: float, memory: int
) -> None:
    among = swarm(delay, count=count, layer=layer, memory=1 << memory, uplink=1e6)
    choice = choose_batch(JOB, table(sequences), ANY, among)
    assert choice.size * choice.count == sequences
    assert choice == choose_batch(JOB, table(sequences), ANY, replace(among, workers=among.workers[::-1]))


class TestSettling:
    def test_wire_and_cut_are_settled_together(self) -> None:
        declared = [Declared(worker.peer, 10**9, 1000.0) for worker in swarm().workers]
        found = settle(JOB, Wishes(WireTable(codec="auto"), table(64), FOUR), declared, swarm(0.05))
        batch = found.spec.batch
        assert batch.micro_batch_size * batch.micro_batches == 64
        assert found.spec.wire.forward == "int4"
        assert found.wire.startswith("wire int4")
        assert found.batch.startswith(f"{batch_words(found.spec)} (chosen: 4 stages would take ")

    def test_what_a_job_names_stays(self) -> None:
        named = BatchTable(sequence_length=16, micro_batch_size=2, micro_batches=4)
        found = settle(JOB, Wishes(WireTable(codec="raw"), named, ANY), [], NOBODY)
        assert found.spec == JOB
        assert found.batch == batch_words(JOB)


def test_the_cut_in_words() -> None:
    assert batch_words(table(64).applied(JOB, 4)) == "64 sequences a step: 16 micro-batches of 4"
    assert batch_words(table(1).applied(JOB, 1)) == "1 sequence a step: 1 micro-batch of 1"


def test_the_times_of_a_swarm_are_of_one_sequence() -> None:
    assert for_one_sequence(JOB).batch == replace(JOB.batch, micro_batch_size=1)
