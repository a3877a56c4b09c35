"""What each wire costs and keeps.

    python -m benchmarks.codecs [--json] [--short] [--group N] [--seeds N] [--rate R]

Loss: the plain loop over Python's own reference text, 8 layers of width 128, 300 steps of 768 bytes, for every
wire, with a boundary every ``--group`` layers. Every wire starts from the same weights and sees the same tokens; still
one seed's losses differ by chance, as they would for any change of a last digit: by some hundredths of a nat with a
learning rate of 0.003, by some thousandths with 0.001. Judge by the mean over ``--seeds``.

Speed: encoding, decoding and both in one, 16 MiB of float32, one thread, process time, beside copying it.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import mean

import torch

from swarmd.blobs import BlobStore
from swarmd.protocols.codecs import CODECS, WIRES, row_bytes
from swarmd.protocols.jobfile import parse_job
from swarmd.protocols.spec import JobSpec, WireSpec
from swarmd.protocols.wirerules import even_boundaries
from swarmd.train.checkpoint import open_units, store_units
from swarmd.train.codecs import decode, encode, round_trip
from swarmd.train.data import TokenData
from swarmd.train.loop import EvalRow, train
from swarmd.train.prepare import prepare
from swarmd.train.units import stage_units

JOB = """
steps = {steps}
seed = {seed}
data = {{embedded = true}}
batch = {{sequence_length = 128, micro_batch_size = 2, micro_batches = 3}}
optimizer = {{lr = {rate}}}
evaluation = {{every = {steps}, windows = 160}}
checkpoint = {{every = {steps}}}
"""
SHAPE = (2048, 2048)
REPEATS = 5


@dataclass(frozen=True, slots=True)
class Outcome:
    """One wire's training run."""

    seed: int
    wire: str
    bytes_per_token: int
    """Over one boundary, there and back."""
    loss: float
    cpu_seconds: float


@dataclass(frozen=True, slots=True)
class Speed:
    """Gigabytes of float32 a second."""

    codec: str
    encode: float
    decode: float
    both: float
    """What a boundary inside a process costs."""
    against_copy: float
    """Encoding's speed as a share of the copy's."""


def base_spec(steps: int, seed: int, rate: float, blobs: BlobStore) -> JobSpec:
    """The raw job, with its seeded weights named as a checkpoint, so that other wires can begin from them too."""
    spec = prepare(parse_job(JOB.format(steps=steps, seed=seed, rate=rate), "codecs.toml"), Path(), blobs)
    names = stage_units(spec.model, 0, spec.model.num_hidden_layers)
    start = store_units(0, open_units(spec, names, None, None, torch.device("cpu")), blobs)
    return replace(spec, model=replace(spec.model, weights=blobs.put(start.to_bytes())))


def outcome(spec: JobSpec, name: str, group: int, blobs: BlobStore) -> Outcome:
    """Train with a wire; the held-out loss at the end. The tokens are the raw job's."""
    forward, backward = WIRES[name]
    boundaries = () if name == "raw" else even_boundaries(spec.model.num_hidden_layers, group)
    wired = replace(spec, wire=WireSpec(forward=forward, backward=backward, boundaries=boundaries))
    began = time.process_time()
    rows = train(wired, TokenData(spec, blobs.get), blobs=blobs).rows
    taken = time.process_time() - began
    loss = next(row.loss for row in reversed(rows) if isinstance(row, EvalRow))
    width = spec.model.hidden_size
    return Outcome(spec.seed, name, row_bytes(forward, width) + row_bytes(backward, width), loss, taken)


def rate(work: Callable[[], object], count: int) -> float:
    """The best of some rounds, in GB of float32 a second."""
    best = float("inf")
    for _ in range(REPEATS):
        began = time.process_time_ns()
        work()
        best = min(best, time.process_time_ns() - began)
    return count * 4 / best


def speeds() -> tuple[float, list[Speed]]:
    """The copy's speed, and every lossy codec's."""
    torch.set_num_threads(1)
    x = torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))
    into, count = torch.empty_like(x), x.numel()
    copy = rate(lambda: into.copy_(x), count)
    return copy, [_speed(codec, x, copy) for codec in CODECS if codec != "raw"]


def _speed(codec: str, x: torch.Tensor, copy: float) -> Speed:
    wire, count, width = encode(codec, x), x.numel(), x.shape[-1]
    there = rate(lambda: encode(codec, x), count)
    back = rate(lambda: decode(codec, wire, width), count)
    return Speed(codec, there, back, rate(lambda: round_trip(codec, x), count), there / copy)


def main() -> None:
    """Measure and print; with --json one object on the last line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--short", action="store_true", help="20 steps a wire: about a minute")
    parser.add_argument("--group", type=int, default=2, help="layers between two boundaries (2: three boundaries)")
    parser.add_argument("--seeds", type=int, default=1, help="runs per wire, each with its own weights and order")
    parser.add_argument("--rate", type=float, default=0.001, help="learning rate at its highest")
    parser.add_argument("--wires", nargs="+", choices=tuple(WIRES), default=list(WIRES))
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    copy, speed = speeds()
    print(f"copy   {copy:5.2f} GB/s")
    for each in speed:
        print(f"{each.codec:6} encode {each.encode:5.2f}  decode {each.decode:5.2f}  both {each.both:5.2f} GB/s")
    steps = 20 if chosen.short else 300
    found: list[Outcome] = []
    with tempfile.TemporaryDirectory() as folder:
        blobs = BlobStore(Path(folder))
        for seed in range(chosen.seeds):
            spec = base_spec(steps, seed, chosen.rate, blobs)
            for name in dict.fromkeys(("raw", *chosen.wires)):
                found.append(outcome(spec, name, chosen.group, blobs))
                show(found[-1], next(each for each in found if each.seed == seed))
    gaps = {name: mean_gap(found, name) for name in dict.fromkeys(each.wire for each in found)}
    if chosen.json:
        runs = [asdict(each) for each in found]
        answer = {"steps": steps, "group": chosen.group, "rate": chosen.rate, "gaps": gaps, "runs": runs}
        print(json.dumps({**answer, "copy_gb_s": copy, "speeds": [asdict(each) for each in speed]}))


def show(each: Outcome, raw: Outcome) -> None:
    """One line."""
    print(
        f"seed {each.seed}  {each.wire:10} {each.bytes_per_token:5} bytes a token  loss {each.loss:.4f}"
        f"  {each.loss - raw.loss:+.4f} nats  {each.cpu_seconds:.0f} CPU-s",
        flush=True,
    )


def mean_gap(found: list[Outcome], name: str) -> float:
    """Nats above raw, over all seeds."""
    raw = {each.seed: each.loss for each in found if each.wire == "raw"}
    return mean(each.loss - raw[each.seed] for each in found if each.wire == name)


if __name__ == "__main__":
    main()
