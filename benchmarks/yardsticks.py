"""What the pipeline is measured against, each in a process of its own with one thread.

    python -m benchmarks.yardsticks plain JOB.toml
    python -m benchmarks.yardsticks gloo JOB.toml --rank R --of N --meet FILE [--wire bfloat16]

``plain`` is the loop of ``swarmd.train.loop``. ``gloo`` is one stage of ``torch.distributed.pipelining``'s 1F1B
schedule over the same decoder, with torch's own AdamW and without exact sums: the usual way to run it; with a wire,
what goes between the stages is of that type. Both
print the time, as ``time.monotonic`` gives it, at the end of each step.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from swarmd.blobs import BlobStore
from swarmd.protocols.spec import JobSpec
from swarmd.train.checkpoint import open_units
from swarmd.train.data import TokenData
from swarmd.train.determinism import set_numerics
from swarmd.train.evaluate import loss_share
from swarmd.train.heap import keep_freed_memory
from swarmd.train.loop import StepRow, train
from swarmd.train.model import Model
from swarmd.train.prepare import prepare, read_job
from swarmd.train.units import stage_units

CPU = torch.device("cpu")


def plain(spec: JobSpec, blobs: BlobStore) -> None:
    """The plain loop."""
    train(spec, TokenData(spec, blobs.get), on_row=lambda row: stepped() if isinstance(row, StepRow) else None)


def gloo(spec: JobSpec, rank: int, of: int, meet: Path, wire: torch.dtype) -> None:
    """A gloo pipeline of which this process is one stage."""
    from torch.distributed.pipelining import PipelineStage, Schedule1F1B

    torch.distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=of)
    layers = spec.model.num_hidden_layers
    part = Part(spec, rank * layers // of, (rank + 1) * layers // of, wire)
    optimizer = torch.optim.AdamW(part.parameters(), lr=float(spec.optimizer.lr))
    schedule = Schedule1F1B(
        PipelineStage(part, rank, of, CPU), spec.batch.micro_batches, lambda y, t: loss_share(y, t, y.numel())
    )
    shape = (spec.batch.micro_batches * spec.batch.micro_batch_size, spec.batch.sequence_length)
    for _ in range(spec.schedule.steps):
        ids = torch.randint(0, spec.model.vocab_size, shape)
        inputs = (ids,) if rank == 0 else ()
        schedule.step(*inputs, **({"target": ids, "losses": []} if rank == of - 1 else {}))
        nn.utils.clip_grad_norm_(part.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        stepped()


class Part(nn.Module):
    """Consecutive layers as torch's pipeline wants them."""

    def __init__(self, spec: JobSpec, first: int, end: int, wire: torch.dtype) -> None:
        super().__init__()
        self._wire, self._last = wire, end == spec.model.num_hidden_layers
        units = open_units(spec, stage_units(spec.model, first, end), None, None, CPU)
        self._units = {
            name: {at: nn.Parameter(weight.detach()) for at, weight in unit.weights.items()}
            for name, unit in units.items()
        }
        weights = [weight for unit in self._units.values() for weight in unit.values()]
        self.weights = nn.ParameterList(weights)
        self._model = Model(spec.model, self._units)

    def forward(self, x: Tensor) -> Tensor:
        """As ``Model``."""
        y = self._model(x.float() if x.is_floating_point() else x)
        return y if self._last else y.to(self._wire)


def stepped() -> None:
    """A step is over."""
    print(time.monotonic(), flush=True)


def main() -> None:
    """Run one."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("kind", choices=("plain", "gloo"))
    parser.add_argument("job", type=Path)
    parser.add_argument("--rank", type=int, default=0)
    parser.add_argument("--of", type=int, default=1)
    parser.add_argument("--meet", type=Path, default=Path("meet"))
    parser.add_argument("--wire", choices=("float32", "bfloat16"), default="float32")
    args = parser.parse_args()
    os.nice(5)  # as a compute process does
    keep_freed_memory()
    set_numerics(1)
    with tempfile.TemporaryDirectory() as scratch:
        blobs = BlobStore(Path(scratch))
        spec = prepare(read_job(args.job), args.job.parent, blobs)
        if args.kind == "plain":
            plain(spec, blobs)
        else:
            gloo(spec, args.rank, args.of, args.meet, getattr(torch, args.wire))


if __name__ == "__main__":
    main()
