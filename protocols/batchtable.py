"""``[batch]`` of a job file: the sequences of one step, and the ways to cut them into equal micro-batches.

Which way is fastest depends on peers and links, and is chosen where those are known; which ways there are follows from
the file alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from swarmd.protocols.spec import BatchSpec, JobSpec
from swarmd.protocols.specrules import INTEGERS, MAX_MICRO_BATCH_TOKENS, Fault

USUAL_EVAL_WINDOWS = 32
MOST_SIZE = int(INTEGERS["batch.micro_batch_size"].high)
MOST_COUNT = int(INTEGERS["batch.micro_batches"].high)
SEQUENCES = "batch.sequences"
_ALL = (SEQUENCES, "batch.micro_batch_size", "batch.micro_batches")


def usual_windows(size: int) -> int:
    """Held-out windows of an evaluation that names none: 32, up to a multiple of the micro-batch's size."""
    return -(-USUAL_EVAL_WINDOWS // size) * size


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTable:
    """``[batch]``: two of the three numbers of sequences give the third; ``sequences`` alone leaves the cut open."""

    sequence_length: int
    micro_batch_size: int | None = None
    micro_batches: int | None = None
    sequences: int | None = None
    """Of one step; None: whatever the other two, which are then given, come to."""
    eval_windows: int | None = None
    """``evaluation.windows``, a multiple of any size that is chosen; None: the usual ones."""

    @property
    def open(self) -> bool:
        """Whether the cut is left to the swarm."""
        return self.micro_batch_size is None and self.micro_batches is None

    def sizes(self) -> tuple[int, ...]:
        """The sizes that a micro-batch may have, rising; none if there are none, one if the file says which."""
        total = self.sequences
        if total is None or (self.micro_batch_size and self.micro_batches):
            return (self.micro_batch_size or 1,)
        if self.micro_batch_size:
            fits = total % self.micro_batch_size == 0 and total // self.micro_batch_size <= MOST_COUNT
            return (self.micro_batch_size,) * fits
        if self.micro_batches:
            fits = total % self.micro_batches == 0 and total // self.micro_batches <= self.most_size
            return (total // self.micro_batches,) * fits
        return tuple(size for size in self.options() if total % size == 0 and total // size <= MOST_COUNT)

    def options(self) -> tuple[int, ...]:
        """The sizes that tokens and evaluation allow, whatever the number of sequences."""
        windows = self.eval_windows
        return tuple(size for size in range(1, self.most_size + 1) if windows is None or windows % size == 0)

    @property
    def most_size(self) -> int:
        """The most sequences that a micro-batch may have."""
        return min(MOST_SIZE, MAX_MICRO_BATCH_TOKENS // self.sequence_length)

    def cut(self, size: int | None = None) -> BatchSpec:
        """The batch with micro-batches of this size; None: the smallest there may be."""
        size = size or self.micro_batch_size or (*self.sizes(), 1)[0]
        count = self.micro_batches or max(1, (self.sequences or size) // size)
        return BatchSpec(sequence_length=self.sequence_length, micro_batch_size=size, micro_batches=count)

    def windows(self, size: int) -> int:
        """Held-out windows of an evaluation in micro-batches of this size."""
        return usual_windows(size) if self.eval_windows is None else self.eval_windows

    def applied(self, spec: JobSpec, size: int) -> JobSpec:
        """A spec of this job with micro-batches of this size; its other fields stay."""
        schedule = replace(spec.schedule, eval_windows=self.windows(size))
        return replace(spec, batch=self.cut(size), schedule=schedule)


def cut_faults(table: BatchTable) -> Iterator[Fault]:
    """Sequences that cannot be cut into micro-batches as the file says, or not at all."""
    total, size, count = table.sequences, table.micro_batch_size, table.micro_batches
    if total is None or (table.sizes() and not (size and count)):
        return
    if not size and not count:
        yield Fault(SEQUENCES, total, _uncut(table, total), (*_ALL, "schedule.eval_windows", "batch.sequence_length"))
    elif not size or not count:
        yield Fault(SEQUENCES, total, _undivided(table, total), _ALL)
    elif size * count != total:
        problem = f"is not micro_batch_size x micro_batches ({size} x {count}); use {size * count}, or remove one"
        yield Fault(SEQUENCES, total, problem, _ALL)


def _undivided(table: BatchTable, total: int) -> str:
    """One of the two other numbers is given, and does not divide the sequences or leaves too much to the other."""
    if table.micro_batch_size:
        name, given, most, limit = "micro_batch_size", table.micro_batch_size, MOST_COUNT, table.most_size
    else:
        name, given, most, limit = "micro_batches", table.micro_batches or 1, table.most_size, MOST_COUNT
    if total > given * most:
        return f"is over {given * most}, the most with {name} = {given}; use that, or a larger {name}"
    divisors = [n for n in range(1, limit + 1) if total % n == 0 and total // n <= most]
    near = _nearest(given, divisors)
    instead = f", or {name} = {near}" if near else ""
    return f"must be a multiple of {name} ({given}); use {_multiples(total, given)}{instead}"


def _uncut(table: BatchTable, total: int) -> str:
    options = table.options()
    dividing = f" that divide evaluation.windows ({table.eval_windows})" if table.eval_windows else ""
    if total > options[-1] * MOST_COUNT:
        return f"is over {MOST_COUNT} micro-batches of {options[-1]}{dividing}; use at most {options[-1] * MOST_COUNT}"
    size = next(size for size in options if size * MOST_COUNT >= total)
    sizes = f"at most {MOST_COUNT} equal micro-batches of up to {options[-1]} sequences{dividing}"
    return f"cannot be cut into {sizes}; use {_multiples(total, size)}"


def _multiples(total: int, of: int) -> str:
    below = total // of * of
    return f"{below} or {below + of}" if below else f"{of}"


def _nearest(wish: int, allowed: list[int]) -> str:
    near = [*[n for n in allowed if n < wish][-1:], *[n for n in allowed if n > wish][:1]]
    return " or ".join(map(str, near))
