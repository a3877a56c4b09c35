"""Decoder blocks as machine code of their own: ``torch.compile`` with its inductor.

All blocks of a model are one function of what enters and their weights, so it is compiled once in a process. The code
does the operations of ``swarmd.train.model`` in another order and rounds elsewhere: it is part of a run's numerics.
Training steps use it and nothing else does, for without a backward pass other code would come out, with other bits.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path

import torch
from torch import Tensor

from swarmd.protocols.errors import RunFailed
from swarmd.protocols.spec import ModelSpec
from swarmd.train.layers import Positions, block

Weights = Mapping[str, Tensor]
Compiled = Callable[[Tensor, Weights, ModelSpec, Positions], Tensor]

NAME = "block"


def prepare_compiler(folder: Path) -> None:
    """Before the first block: code is kept where nobody else writes, and compiled in this process."""
    os.environ.update(TORCHINDUCTOR_CACHE_DIR=str(folder), TORCHINDUCTOR_COMPILE_THREADS="1")


def compiled_block(x: Tensor, weights: Weights, at: str, spec: ModelSpec, positions: Positions) -> Tensor:
    """As ``layers.block``. Raises RunFailed where nothing can be compiled."""
    named = {f"{NAME}{name.removeprefix(at)}": weight for name, weight in weights.items()}
    keeps = torch.is_grad_enabled()
    try:
        with warnings.catch_warnings(), torch.enable_grad():  # else other code comes out
            warnings.simplefilter("ignore")  # torch's own, about its own modules
            left = _compiled()(x, named, spec, positions)
        return left if keeps else left.detach()
    except torch._dynamo.exc.TorchDynamoException as error:
        first = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RunFailed(
            f'numerics.compiler = "inductor" does not work here: {first[:200]}',
            hint='install a C++ compiler (on Debian and Ubuntu: apt install g++), or leave the job at "none"',
        ) from error


@lru_cache(maxsize=1)
def _compiled() -> Compiled:
    def run(x: Tensor, weights: Weights, spec: ModelSpec, positions: Positions) -> Tensor:
        return block(x, weights, NAME, spec, positions)

    compiled: Compiled = torch.compile(run, fullgraph=True, dynamic=False)
    return compiled
