"""Which tokens make micro-batch i of step t: a function of the spec id, t and i alone.

A window w of length T covers tokens w*T .. w*T+T: the first T are inputs, the last T targets. Training
takes windows in an order that is a fresh permutation in every epoch, so each window is used once before
any is used again; evaluation takes windows spread evenly over the held-out text.

The permutation is a four-to-the-b Feistel network (Luby and Rackoff, 1988) whose round function is keyed
BLAKE3, brought to the exact size by cycle walking (Black and Rogaway, 2002, "Ciphers with arbitrary
finite domains"): any index is found without making a table.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from blake3 import blake3

from swarmd.protocols.ids import SpecId
from swarmd.protocols.spec import JobSpec

ROUNDS = 6
_CONTEXT = "swarmd/data-order/1"


def windows(tokens: int, length: int) -> int:
    """How many windows of ``length`` inputs, each with its targets, a run of tokens has."""
    return max(0, (tokens - 1) // length)


def order_key(spec_id: SpecId) -> bytes:
    """The 32-byte key of a run's data order."""
    return blake3(spec_id.encode(), derive_key_context=_CONTEXT).digest()


def permuted(key: bytes, epoch: int, size: int, index: int) -> int:
    """Where ``index`` of 0..size-1 goes in this epoch's permutation of 0..size-1."""
    if not 0 <= index < size:
        raise ValueError(f"index {index} is outside 0..{size - 1}")
    bits = ((size - 1).bit_length() + 1) // 2 or 1
    place = _feistel(key, epoch, bits, index)
    while place >= size:
        place = _feistel(key, epoch, bits, place)
    return place


def _feistel(key: bytes, epoch: int, bits: int, value: int) -> int:
    mask = (1 << bits) - 1
    left, right = value >> bits, value & mask
    for turn in range(ROUNDS):
        message = epoch.to_bytes(8, "little") + bytes((turn,)) + right.to_bytes(8, "little")
        mixed = int.from_bytes(blake3(message, key=key).digest(length=8), "little")
        left, right = right, left ^ (mixed & mask)
    return (left << bits) | right


@dataclass(frozen=True, slots=True)
class DataOrder:
    """The order of one run's windows, with everything costly worked out once."""

    key: bytes
    train_windows: int
    held_out_windows: int
    micro_batch_size: int
    micro_batches: int
    eval_windows: int

    @classmethod
    def of(cls, spec: JobSpec) -> DataOrder:
        """The order a spec asks for."""
        length = spec.batch.sequence_length
        return cls(
            key=order_key(spec.spec_id),
            train_windows=windows(spec.data.train_tokens, length),
            held_out_windows=windows(spec.data.held_out_tokens, length),
            micro_batch_size=spec.batch.micro_batch_size,
            micro_batches=spec.batch.micro_batches,
            eval_windows=spec.schedule.eval_windows,
        )

    def train(self, step: int, micro_batch: int) -> tuple[int, ...]:
        """Training windows of a micro-batch, one per sequence. Steps count from 1, micro-batches from 0.

        Raises ValueError for a step or micro-batch outside the run.
        """
        if step < 1 or not 0 <= micro_batch < self.micro_batches:
            raise ValueError(f"step {step} has no micro-batch {micro_batch}")
        start = ((step - 1) * self.micro_batches + micro_batch) * self.micro_batch_size
        return tuple(self._train_window(start + row) for row in range(self.micro_batch_size))

    def evaluation(self, batch: int) -> tuple[int, ...]:
        """Held-out windows of an evaluation batch, one per sequence, counted from 0.

        Raises ValueError for a batch outside the evaluation.
        """
        if not 0 <= batch < self.eval_windows // self.micro_batch_size:
            raise ValueError(f"evaluation has no batch {batch}")
        start = batch * self.micro_batch_size
        rows = range(start, start + self.micro_batch_size)
        return tuple(row * self.held_out_windows // self.eval_windows for row in rows)

    def _train_window(self, position: int) -> int:
        epoch, index = divmod(position, self.train_windows)
        return permuted(self.key, epoch, self.train_windows, index)


@lru_cache(maxsize=32)
def data_order(spec: JobSpec) -> DataOrder:
    """The order of a spec, remembered: hashing a spec costs more than finding a window."""
    return DataOrder.of(spec)


def micro_batch_windows(spec: JobSpec, step: int, micro_batch: int) -> tuple[int, ...]:
    """Training windows of micro-batch ``micro_batch`` (from 0) of step ``step`` (from 1)."""
    return data_order(spec).train(step, micro_batch)
