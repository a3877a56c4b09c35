"""What gradient sums cost, as a share of a micro-batch: ``python benchmarks/sums.py [--tokens N ...]``.

Seeded weights and random tokens; medians of process time, one thread. The sum's cost grows with parameters,
the micro-batch's with parameters and tokens, so the share falls as micro-batches grow.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import TypeVar

import torch
from torch import Tensor

from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import (
    BatchSpec,
    DataSpec,
    JobSpec,
    ModelSpec,
    NumericsSpec,
    OptimizerSpec,
    ScheduleSpec,
    TokenizerSpec,
    WireSpec,
)
from swarmd.train.checkpoint import Unit, open_units
from swarmd.train.determinism import deterministic
from swarmd.train.evaluate import loss_share
from swarmd.train.model import Model
from swarmd.train.optim import AdamW
from swarmd.train.sums import sums_of
from swarmd.train.units import stage_units

T = TypeVar("T")
CPU = torch.device("cpu")
STEPS = 5


def spec_of(tokens: int, kind: str) -> JobSpec:
    """The demo's model, with micro-batches of this many tokens."""
    return JobSpec(
        name="sums",
        seed=0,
        model=ModelSpec(
            vocab_size=256,
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=8,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
        ),
        tokenizer=TokenizerSpec(kind="bytes"),
        data=DataSpec(source="manifest", dtype="u16", train=(), held_out=(), text_hash=BlobHash("0" * 64)),
        optimizer=OptimizerSpec(),
        batch=BatchSpec(sequence_length=128, micro_batch_size=max(1, tokens // 128)),
        schedule=ScheduleSpec(steps=STEPS, eval_every=STEPS, eval_windows=0, checkpoint_every=STEPS),
        numerics=NumericsSpec(sum=kind),
        wire=WireSpec(),
    )


class Clock:
    """Process time by name, in milliseconds."""

    def __init__(self) -> None:
        self.taken: dict[str, list[float]] = {}

    def time(self, name: str, work: Callable[[], T]) -> T:
        """Do the work and note its time."""
        began = time.process_time()
        result = work()
        self.taken.setdefault(name, []).append((time.process_time() - began) * 1e3)
        return result


def measure(tokens: int, kind: str) -> dict[str, float]:
    """Median milliseconds of a micro-batch, of its sum, and of the optimizer's step."""
    spec = spec_of(tokens, kind)
    deterministic(spec)
    names = stage_units(spec.model, 0, spec.model.num_hidden_layers)
    units = open_units(spec, names, None, None, CPU)
    model = Model(spec.model, {name: unit.weights for name, unit in units.items()})
    clock = Clock()
    for step in range(1, STEPS + 1):
        _step(spec, step, units, model, clock)
    return {name: median(times) for name, times in clock.taken.items()}


def _step(spec: JobSpec, step: int, units: dict[str, Unit], model: Model, clock: Clock) -> None:
    sums, optimizer = sums_of(spec, units, CPU), AdamW(spec)
    weights = list(model.parameters.values())
    for index in range(spec.batch.micro_batches):
        ids = torch.randint(0, 256, (spec.batch.micro_batch_size, spec.batch.sequence_length))

        def gradients(ids: Tensor = ids) -> tuple[Tensor, ...]:
            return torch.autograd.grad(loss_share(model(ids), ids, spec.batch.tokens_per_step), weights)

        found = dict(zip(model.parameters, clock.time("micro-batch", gradients), strict=True))
        clock.time("sum", partial(sums.add, step, index, found))
    clock.time("optimizer", lambda: [optimizer.update(step, unit, sums) for unit in units.values()])


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokens", type=int, nargs="+", default=[128, 1024, 4096], help="per micro-batch")
    print("tokens  sum      micro-batch ms   sum ms  share   optimizer ms")
    for tokens in parser.parse_args().tokens:
        for kind in ("exact", "ordered"):
            ms = measure(tokens, kind)
            share = ms["sum"] / ms["micro-batch"]
            row = f"{ms['micro-batch']:14.1f} {ms['sum']:8.2f} {share:6.1%} {ms['optimizer']:14.1f}"
            print(f"{tokens:6}  {kind:8} {row}")


if __name__ == "__main__":
    main()
