"""The subspace of a model in subspace form: hidden states from coefficients and token ids.

    x_BTD = table[ids_BT] + c_BTK @ basis_DK.T

Every block but the last adds to the coefficients c, so c and ids are all that a later block needs to know: what
crosses a boundary is c itself, not a projection of x, and nothing is lost. The table gives each token a direction of
its own that K coefficients could not; neither it nor the basis is trained or sent. Both are made of integers keyed by
the spec id, by operations that IEEE 754 rounds in one way, so they have the same bits everywhere.

Protocol Models, Ramasinghe et al. 2025 (arXiv 2506.01260), with the weights as coefficients from the start: there is
no projection after an optimizer step.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from swarmd.protocols.spec import JobSpec, ModelSpec
from swarmd.train.units import TABLE, narrow_names
from swarmd.train.weights import seeded_normals

Doubles = npt.NDArray[np.float64]

PASSES = 2
"""Of Gram-Schmidt: twice is enough (Giraud, Langou & Rozloznik 2005)."""


@dataclass(frozen=True, slots=True)
class Subspace:
    """A basis and a token table, both float32 and never trained."""

    basis: Tensor
    """[D, K], orthonormal columns."""
    table: Tensor
    """[V, D]."""

    def lift(self, coefficients: Tensor, ids: Tensor) -> Tensor:
        """Hidden states [B, T, D] from coefficients [B, T, K] and token ids [B, T]."""
        return F.embedding(ids, self.table) + F.linear(coefficients, self.basis)

    def full_rank(self, model: ModelSpec, unit: str, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """A unit's weights as a model without a subspace has them: with these it gives the same logits, to rounding."""
        narrow = narrow_names(model, unit)
        return {name: self._widened(name, weight) if name in narrow else weight for name, weight in weights.items()}

    def _widened(self, name: str, weight: Tensor) -> Tensor:
        if name == TABLE:
            return self.table + F.linear(weight, self.basis)
        return self.basis @ weight


def open_subspace(spec: JobSpec, device: torch.device) -> Subspace | None:
    """The subspace of a spec's model; None for a model without one."""
    model = spec.model
    if not model.subspace:
        return None
    rows = seeded_normals(spec, "subspace.basis", (model.subspace, model.hidden_size), 1.0)
    basis = orthonormal(rows.astype(np.float64)).T.astype(np.float32, order="C")
    deviation = float(model.initializer_range)
    table = seeded_normals(spec, "subspace.table", (model.vocab_size, model.hidden_size), deviation)
    return Subspace(torch.from_numpy(basis).to(device), torch.from_numpy(table).to(device))


def without_subspace(model: ModelSpec) -> ModelSpec:
    """The plain Llama that a model in subspace form is exported as."""
    return replace(model, subspace=0)


def orthonormal(rows: Doubles) -> Doubles:
    """Orthonormal rows with the same span: modified Gram-Schmidt, each row against all later ones.

    Sums are halved, never left to a library: products, additions, divisions and square roots of doubles have one
    result on any processor.
    """
    rows = rows.copy()
    for _ in range(PASSES):
        for at, row in enumerate(rows):
            row /= np.sqrt(_sums(row * row))
            later = rows[at + 1 :]
            later -= _sums(later * row)[:, None] * row
    return rows


def _sums(x: Doubles) -> Doubles:
    """Sums over the last axis: while there is more than one number, the upper half is added to the lower."""
    while (width := x.shape[-1]) > 1:
        half = -(-width // 2)
        upper = x[..., half:]
        x = x[..., :half].copy()
        x[..., : width - half] += upper
    return x[..., 0]
