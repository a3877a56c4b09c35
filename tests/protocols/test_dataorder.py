"""The data order: every window once per epoch, a function of spec id, step and micro-batch alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.dataorder import DataOrder, micro_batch_windows, order_key, permuted, windows
from swarmd.protocols.ids import SpecId
from tests.protocols.specs import SPEC

KEY = order_key(SpecId("0" * 64))


@pytest.mark.parametrize(("tokens", "count"), [(0, 0), (16, 0), (17, 1), (32, 1), (33, 2)])
def test_a_window_has_a_target_for_every_input(tokens: int, count: int) -> None:
    assert windows(tokens, 16) == count


@given(st.integers(1, 300), st.integers(0, 2**40))
@settings(max_examples=40, deadline=None)
def test_every_epoch_is_a_permutation(size: int, epoch: int) -> None:
    assert sorted(permuted(KEY, epoch, size, index) for index in range(size)) == list(range(size))


def test_huge_data_is_permuted_without_a_table() -> None:
    size = 1 << 40
    places = {permuted(KEY, 0, size, index) for index in range(100)}
    assert len(places) == 100
    assert max(places) > size // 2


def test_epochs_keys_and_sizes_give_other_orders() -> None:
    def order(key: bytes, epoch: int, size: int) -> list[int]:
        return [permuted(key, epoch, size, index) for index in range(50)]

    other = order_key(SpecId("1" + "0" * 63))
    orders = [order(KEY, 0, 50), order(KEY, 1, 50), order(other, 0, 50), order(KEY, 0, 51)]
    assert len({tuple(found) for found in orders}) == 4


def test_places_are_spread_evenly() -> None:
    counts = [0] * 16
    for epoch in range(1600):
        counts[permuted(KEY, epoch, 16, 0)] += 1
    assert min(counts) > 60
    assert max(counts) < 140


def test_the_order_is_fixed_for_all_time() -> None:
    assert [permuted(KEY, 0, 10, index) for index in range(10)] == [7, 5, 1, 3, 6, 9, 2, 4, 0, 8]
    assert [permuted(KEY, 7, 1000, index) for index in range(5)] == [522, 350, 423, 227, 587]


@pytest.mark.parametrize("index", [-1, 10])
def test_an_index_outside_is_refused(index: int) -> None:
    with pytest.raises(ValueError, match="outside"):
        permuted(KEY, 0, 10, index)


def test_an_epoch_uses_every_window_once() -> None:
    seen = [window for step in range(1, 6) for index in range(3) for window in micro_batch_windows(SPEC, step, index)]
    assert len(seen) == 30
    for epoch in (0, 1, 2):
        assert sorted(seen[epoch * 10 : epoch * 10 + 10]) == list(range(10))


def test_another_seed_gives_another_order() -> None:
    other = replace(SPEC, seed=1)
    assert [micro_batch_windows(SPEC, step, 0) for step in range(1, 9)] != [
        micro_batch_windows(other, step, 0) for step in range(1, 9)
    ]


@pytest.mark.parametrize(("step", "index"), [(0, 0), (-1, 0), (1, 3), (1, -1)])
def test_there_is_no_such_micro_batch(step: int, index: int) -> None:
    with pytest.raises(ValueError, match="no micro-batch"):
        micro_batch_windows(SPEC, step, index)


def test_evaluation_is_spread_over_the_held_out_text() -> None:
    order = DataOrder.of(SPEC)
    assert order.held_out_windows == 7
    assert order.evaluation(0) + order.evaluation(1) == (0, 1, 3, 5)
    with pytest.raises(ValueError, match="no batch 2"):
        order.evaluation(2)
