"""The switches that torch's bits depend on, all in one place."""

from __future__ import annotations

import contextlib
import os

import torch

from swarmd.protocols.spec import JobSpec


def deterministic(spec: JobSpec) -> None:
    """Set this process up for a run: same spec, same build and same processor give the same bits.

    Call it before the first tensor operation: CUDA reads the workspace setting once.
    """
    set_numerics(spec.numerics.threads)


def set_numerics(threads: int) -> None:
    """Thread count and arithmetic modes. Denormal numbers are kept, float32 is never rounded to TF32, and sums
    inside a bfloat16 product are float32."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.set_num_threads(threads)
    with contextlib.suppress(RuntimeError):  # can be set once in a process; no operation here uses them
        torch.set_num_interop_threads(1)
    torch.use_deterministic_algorithms(True)
    # Filling memory that is written anyway costs time and changes nothing.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.set_flush_denormal(False)
    torch.set_float32_matmul_precision("highest")
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
