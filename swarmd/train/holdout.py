"""Which part of a text is kept for evaluation: every 16th block of 4,096 bytes.

Cuts that would fall inside a UTF-8 character move forward to its end. The blocks between two held-out ones
are one run of training text; a tokenizer sees each run by itself, so that no token reaches from
one part into the other.
"""

from __future__ import annotations

from collections.abc import Iterator

BLOCK_BYTES = 4096
BLOCKS = 16
_TRAIN_BYTES = (BLOCKS - 1) * BLOCK_BYTES
_PERIOD_BYTES = BLOCKS * BLOCK_BYTES


def training_runs(text: bytes) -> Iterator[bytes]:
    """Training text: fifteen blocks of every sixteen, in order."""
    for start in range(0, len(text), _PERIOD_BYTES):
        if run := text[_boundary(text, start) : _boundary(text, start + _TRAIN_BYTES)]:
            yield run


def held_out_runs(text: bytes) -> Iterator[bytes]:
    """Held-out text: the last block of every sixteen, in order."""
    for start in range(_TRAIN_BYTES, len(text), _PERIOD_BYTES):
        if run := text[_boundary(text, start) : _boundary(text, start + BLOCK_BYTES)]:
            yield run


def bytes_needed(train: int, held_out: int) -> int:
    """The shortest text, in bytes, that has this many bytes (at least 1) of either part."""
    return max(_shortest(train, _TRAIN_BYTES, skipped=0), _shortest(held_out, BLOCK_BYTES, skipped=_TRAIN_BYTES))


def _shortest(wanted: int, per_period: int, skipped: int) -> int:
    periods, rest = divmod(wanted - 1, per_period)
    return periods * _PERIOD_BYTES + skipped + rest + 1


def _boundary(text: bytes, at: int) -> int:
    at = min(at, len(text))
    while at < len(text) and text[at] & 0xC0 == 0x80:
        at += 1
    return at
