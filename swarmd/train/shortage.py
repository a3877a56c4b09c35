"""Running out of memory as an answer: which errors mean it, and what to say. Needs no torch.

There is one class for it on CUDA, and words alone elsewhere: torch's allocator on a CPU and libraries under it raise
RuntimeError, numpy and Python MemoryError.
"""

from __future__ import annotations

import re

from swarmd.protocols.errors import OutOfMemory, StateError, SwarmdError

_WORDS = ("out of memory", "can't allocate memory", "not enough memory", "alloc_failed")
_ASKED = re.compile(r"(?:tried|unable) to allocate ([\d.,]+ ?[KMGT]?i?B(?:ytes)?)", re.IGNORECASE)


def is_shortage(error: BaseException) -> bool:
    """Whether an error means that the device, or the system, has no memory left."""
    words = str(error).lower()
    return isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(map(words.__contains__, _WORDS)))


def failure(error: Exception, *, what: str, numbers: str = "", hint: str = "use smaller micro-batches") -> SwarmdError:
    """Any error of a device, in words: OutOfMemory if it is that, with what was asked for, else StateError."""
    if not is_shortage(error):
        return StateError(f"{type(error).__name__}: {str(error)[:500]}")
    asked = _ASKED.search(str(error))
    last = f" when {asked.group(1)} more were asked for" if asked else ""
    return OutOfMemory(f"{what} ran out of memory{last}{f'; {numbers}' if numbers else ''}", hint=hint)
