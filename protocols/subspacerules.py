"""Models in subspace form: which a job may have, and what is said of narrow ones.

Every block but the last adds to K coefficients per token instead of ``hidden`` values, and only those cross
boundaries, with the token's id (Ramasinghe et al., Protocol Models, arXiv 2506.01260).
"""

from __future__ import annotations

from collections.abc import Iterator

from swarmd.protocols.spec import ModelSpec, NumericsSpec
from swarmd.protocols.specrules import Fault

NARROW = 8
"""A subspace under ``hidden`` over this is worth a warning: at width 128 it cost 0.22 nats and more."""


def subspace_faults(model: ModelSpec, numerics: NumericsSpec) -> Iterator[Fault]:
    """A subspace that is wider than the model, odd, of a model without boundaries, compiled, or beside a checkpoint."""
    name, width, hidden = "model.subspace", model.subspace, model.hidden_size
    if width > hidden:
        problem = f"is over hidden ({hidden}); use at most {hidden}, or 0 for a model of full rank"
        yield Fault(name, width, problem, (name, "model.hidden_size"))
    elif width % 2:
        use = f"{width - 1} or {width + 1}" if width > 1 else "2"
        yield Fault(name, width, f"must be even, as the codec int4 needs it; use {use}", (name,))
    if width and model.num_hidden_layers == 1:
        yield Fault(name, width, "one layer sends nothing; remove it", (name, "model.num_hidden_layers"))
    if width and model.weights is not None:
        yield Fault(name, width, "a checkpoint has full rank", (name,))
    if width and numerics.compiled:
        compiler = "numerics.compiler"
        yield Fault(compiler, numerics.compiler, 'a model in a subspace is not compiled; use "none"', (name, compiler))


def subspace_words(model: ModelSpec) -> str:
    """What a resolved model's subspace is, for people, and a warning where it is narrow; empty without one."""
    if not model.subspace:
        return ""
    words = f"subspace of {model.subspace} in {model.hidden_size}"
    if model.subspace * NARROW > model.hidden_size:
        return words
    return f"{words}: so narrow a one costs loss; compare with a model without it"
