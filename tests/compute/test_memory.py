"""Slots of shared memory: both sides see the same bytes, and each slot only its own."""

from __future__ import annotations

import os
import queue
from dataclasses import replace

import pytest

from swarmd.compute.layout import SHARE_BYTES, layout_of
from swarmd.compute.memory import SlotMemory, SlotPool, SlotReturns, unnamed_file
from swarmd.protocols.boundary import boundary_shape
from swarmd.protocols.specrules import MAX_REPLICAS
from tests.compute.frames import slots
from tests.protocols.specs import SPEC


def test_what_one_side_writes_the_other_reads() -> None:
    with slots(3, 8) as ours:
        theirs = SlotMemory(ours.handle, ours.layout)
        ours.slot(1, 5)[:] = b"hello"
        assert bytes(theirs.slot(1, 8)) == b"hello\0\0\0"
        assert bytes(theirs.slot(0, 8)) == bytes(theirs.slot(2, 8)) == bytes(8)
        theirs.close()


@pytest.mark.parametrize(("index", "length"), [(-1, 1), (3, 1), (0, 9), (0, -1)])
def test_there_is_nothing_outside_the_slots(index: int, length: int) -> None:
    with slots(3, 8) as memory, pytest.raises(IndexError, match=f"slot {index} of 3, {length} of 8 bytes"):
        memory.slot(index, length)


def test_closing_while_somebody_reads_does_not_pull_the_bytes_away() -> None:
    with slots(1, 4) as memory:
        held = memory.slot(0, 4)
        held[:] = b"kept"
        memory.close()
        assert bytes(held) == b"kept"
        held.release()


@pytest.mark.parametrize("named", [False, True])
def test_the_file_is_zero_and_has_no_name(monkeypatch: pytest.MonkeyPatch, named: bool) -> None:
    if named:  # as on a system without memfd
        monkeypatch.delattr(os, "memfd_create", raising=False)
    handle = unnamed_file(100)
    try:
        assert os.fstat(handle).st_nlink == 0
        assert os.pread(handle, 200, 0) == bytes(100)
    finally:
        os.close(handle)


def test_slots_go_back_in_pairs() -> None:
    sent: list[tuple[int, ...]] = []
    returns = SlotReturns(sent.append)
    for slot in (3, 1, 2):
        returns.give(slot)
    assert sent == [(3, 1)]


def test_a_pool_gives_each_slot_to_one_at_a_time() -> None:
    pool = SlotPool(range(4, 6))
    assert {pool.take(None), pool.take(None)} == {4, 5}
    with pytest.raises(queue.Empty):
        pool.take(0)
    pool.give(5)
    assert pool.take(0) == 5


def test_the_uses_of_slots_do_not_overlap_and_leave_none_out() -> None:
    layout = layout_of(SPEC)
    pools = [*layout.incoming, layout.outgoing, layout.to_replicas]
    assert sorted(slot for pool in pools for slot in pool) == list(range(layout.count))
    assert all(len({layout.pool_of(slot) for slot in pool}) == 1 for pool in pools)
    assert len({layout.pool_of(pool[0]) for pool in pools}) == len(layout.pools)


@pytest.mark.parametrize("number", [-1, MAX_REPLICAS - 1])
def test_a_stage_has_so_many_other_replicas(number: int) -> None:
    with pytest.raises(ValueError, match="at most 8 replicas"):
        layout_of(SPEC).from_replica(number)


def test_slots_for_replicas_have_a_size_of_their_own() -> None:
    layout = layout_of(SPEC)
    handle = unnamed_file(layout.total_bytes)
    memory = SlotMemory(handle, layout)
    sizes = {len(memory.slot(slot, SHARE_BYTES)) for slot in layout.to_replicas}
    assert sizes == {SHARE_BYTES}
    with pytest.raises(IndexError, match=f"of {layout.slot_bytes} bytes"):
        memory.slot(layout.outgoing[-1], layout.slot_bytes + 1)
    memory.close()
    os.close(handle)


def test_a_slot_holds_one_boundary_tensor() -> None:
    assert boundary_shape(SPEC) == (2, 16, 8)
    assert layout_of(SPEC).slot_bytes == 2 * 16 * 8 * 4
    narrow = replace(SPEC, model=replace(SPEC.model, subspace=4))
    assert boundary_shape(narrow) == (2, 16, 4)
    assert layout_of(narrow).slot_bytes == 2 * 16 * (4 * 4 + 2)
