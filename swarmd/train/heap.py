"""Memory that is freed stays with the process: every micro-batch needs as much again.

The C library's allocator gives large blocks back to the kernel when they are freed, and the kernel fills new ones with
zeros, page by page: a sixth of a CPU stage's time.
"""

from __future__ import annotations

import ctypes

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3
"""As in glibc's malloc.h; mallopt(3) explains them."""
GROW_BYTES = 64 << 20
LARGEST = (1 << 31) - 1


def keep_freed_memory() -> bool:
    """Have glibc's allocator keep what is freed, for this whole process; False where there is another allocator."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):  # no glibc
        return False
    settings = ((M_MMAP_THRESHOLD, LARGEST), (M_TRIM_THRESHOLD, LARGEST), (M_TOP_PAD, GROW_BYTES))
    return all([mallopt(name, value) == 1 for name, value in settings])
