"""A stage that computes its activations twice gives the bits of one that keeps them."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch

from swarmd.gpu import devices
from swarmd.protocols.errors import OutOfMemory
from swarmd.protocols.footprint import layer_activations, stage_memory
from swarmd.protocols.spec import NumericsSpec, WireSpec
from swarmd.train import room
from swarmd.train.loop import train
from swarmd.train.room import with_what_there_is
from swarmd.train.stage import Stage
from tests.compute.test_process import load
from tests.train.test_stage import bits, comparable, pipelined, snapshot

VARIANTS = {
    "float32": {},
    "bfloat16": {"numerics": NumericsSpec(dtype="bfloat16")},
    "lossy wire": {"wire": WireSpec(forward="int8", backward="int8", boundaries=(1, 2))},
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("ends", [(3,), (1, 3), (1, 2, 3)])
def test_any_cut_in_any_order_gives_the_bits_of_the_loop(tiny_run, ends, variant):
    run = tiny_run.changed(**variant)
    expected = train(run.spec, run.data)
    firsts = (0, *ends[:-1])
    stages = [Stage(run.spec, first, end, run.data, recompute=True) for first, end in zip(firsts, ends, strict=True)]
    assert pipelined(run, stages, random.Random(0)) == comparable(expected.rows)
    assert snapshot(stages) == bits(expected)


def test_in_subspace_form_too(tiny_run):
    run = tiny_run.changed(model=replace(tiny_run.spec.model, subspace=8))
    found = []
    for recompute in (False, True):
        stage = Stage(run.spec, 0, 3, run.data, recompute=recompute)
        for index in range(4):
            stage.forward(1, index)
            stage.backward(1, index)
        stage.commit(1)
        found.append(snapshot([stage]))
    assert found[0] == found[1]


def kept_bytes(stage):
    """Of what a middle stage keeps of one micro-batch for its backward, weights aside."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes(), tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        stage.forward(1, 0, torch.full((2, 16, 32), 0.01))
    weights = {weight.untyped_storage().data_ptr() for weight in stage._weights.newest.parameters.values()}
    return sum(size for pointer, (size, _) in kept.items() if pointer not in weights)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_a_layer_keeps_is_within_what_is_planned(tiny_run, dtype):
    run = tiny_run.changed(numerics=NumericsSpec(dtype=dtype))
    planned = layer_activations(run.spec)
    assert planned / 2 < kept_bytes(Stage(run.spec, 1, 2, None)) <= planned
    assert kept_bytes(Stage(run.spec, 1, 2, None, recompute=True)) == 4 * 2 * 16 * 32


class TestWhatThereIs:
    """The device's memory, as the process that computes sees it."""

    def asked(self, run, monkeypatch, free, **changes):
        monkeypatch.setattr(room, "free_memory", lambda device: free)
        wanted = replace(load(run.spec), credit=4, room=6, **changes)
        return with_what_there_is(wanted, run.spec, torch.device("cpu"))

    def needed(self, run, held, *, recompute=False):
        return stage_memory(run.spec, 0, 3, held, recompute=recompute) + room.layout_of(run.spec).frame_bytes

    def test_enough_changes_nothing(self, tiny_run, monkeypatch):
        found, thrift = self.asked(tiny_run, monkeypatch, 1 << 40)
        assert (found.credit, found.room, found.recompute, thrift) == (4, 6, False, "")

    def test_less_lowers_the_credit_then_recomputes(self, tiny_run, monkeypatch):
        found, thrift = self.asked(tiny_run, monkeypatch, self.needed(tiny_run, 3))
        assert (found.credit, found.room, found.recompute) == (3, 3, False)
        assert thrift.endswith("it holds 3 of 4 micro-batches")
        found, thrift = self.asked(tiny_run, monkeypatch, self.needed(tiny_run, 4, recompute=True))
        assert (found.credit, found.recompute) == (4, True)
        assert thrift.endswith("it computes activations twice")

    def test_a_stage_that_was_to_recompute_does_not_say_so_again(self, tiny_run, monkeypatch):
        found, thrift = self.asked(tiny_run, monkeypatch, 1 << 40, recompute=True)
        assert (found.recompute, thrift) == (True, "")

    def test_too_little_is_said_with_figures(self, tiny_run, monkeypatch):
        with pytest.raises(OutOfMemory, match=r"layers 0 to 2 need .* of memory, and 5 bytes are free on cpu"):
            self.asked(tiny_run, monkeypatch, 5)

    def test_a_cpu_has_what_the_system_has(self):
        assert 0 < devices.free_memory(torch.device("cpu")) <= devices.hardware(torch.device("cpu")).memory_bytes
