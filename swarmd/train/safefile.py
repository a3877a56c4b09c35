"""Reading a safetensors file one tensor at a time, as float32, without holding the rest of it.

The format: eight bytes of header length, a JSON header of names, types, shapes and byte ranges, then the
bytes. numpy has no bfloat16, so it is widened here: its bits are the upper half of a float32's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from swarmd.protocols.errors import NotFound, UsageError

MAX_HEADER_BYTES = 16 << 20
ITEM_BYTES = {"F32": 4, "F16": 2, "BF16": 2}
HINT = "save the model again with safetensors"


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies; ``start`` counts from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


class SafeFile:
    """An open safetensors file. Raises NotFound or UsageError for a missing, cut or malformed one."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with path.open("rb") as file:
                length = int.from_bytes(file.read(8), "little")
                if length > MAX_HEADER_BYTES:
                    raise UsageError(f"{path} is not a safetensors file", hint=HINT)
                header = file.read(length)
            self._entries = _entries(header, path, 8 + length)
        except FileNotFoundError as error:
            raise NotFound(f"{path} is not there", hint="a checkpoint folder needs it") from error
        except OSError as error:
            raise UsageError(f"cannot read {path}: {error.strerror}", hint="check its permissions") from error

    def names(self) -> frozenset[str]:
        """The tensors in the file."""
        return frozenset(self._entries)

    def shape(self, name: str) -> tuple[int, ...]:
        """A tensor's shape. Raises KeyError."""
        return self._entries[name].shape

    def float32(self, name: str) -> NDArray[np.float32]:
        """A tensor's values. Raises KeyError; UsageError for values that are not finite."""
        entry = self._entries[name]
        with self.path.open("rb") as file:
            file.seek(entry.start)
            raw = file.read(entry.end - entry.start)
        values = _widened(raw, entry.dtype).reshape(entry.shape)
        if not np.isfinite(values).all():
            raise UsageError(f"{name} in {self.path} has values that are not finite", hint="use a sound checkpoint")
        return values


def _widened(raw: bytes, dtype: str) -> NDArray[np.float32]:
    if dtype == "BF16":
        return (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
    return np.frombuffer(raw, "<f2" if dtype == "F16" else "<f4").astype(np.float32)


def _entries(header: bytes, path: Path, base: int) -> dict[str, Entry]:
    try:
        content: dict[str, Any] = json.loads(header)
        content.pop("__metadata__", None)
        entries = {name: _entry(item, base) for name, item in content.items()}
    except (ValueError, RecursionError, AttributeError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is not a safetensors file: {error}", hint=HINT) from error
    size = path.stat().st_size
    for name, entry in entries.items():
        if not base <= entry.start <= entry.end <= size:
            raise UsageError(f"{path} is cut short at {name}", hint="copy or download the file again")
    return entries


def _entry(item: dict[str, Any], base: int) -> Entry:
    dtype, shape, (start, end) = (
        str(item["dtype"]),
        tuple(int(n) for n in item["shape"]),
        item["data_offsets"],
    )
    if dtype not in ITEM_BYTES:
        raise ValueError(f"numbers of type {dtype}; F32, F16 and BF16 are read")
    if min(shape, default=0) < 0 or int(end) - int(start) != prod(shape) * ITEM_BYTES[dtype]:
        raise ValueError("a tensor whose shape and bytes disagree")
    return Entry(dtype, shape, base + int(start), base + int(end))
