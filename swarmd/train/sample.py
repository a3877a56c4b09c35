"""Letting a model write. The same model, prompt and seed give the same text."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from blake3 import blake3

from swarmd.protocols.errors import NotFound, StateError, UsageError
from swarmd.protocols.spec import JobSpec
from swarmd.train.folder import open_model
from swarmd.train.model import Model

MAX_TOKENS = 1 << 16
UNFINISHED = "\N{REPLACEMENT CHARACTER}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """How the next token is chosen."""

    temperature: float = 0.8
    """0: always the likeliest."""
    top_k: int = 50
    """Choose among this many; 0: all."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Raises UsageError."""
        if not 0 <= self.temperature < 1e6 or self.top_k < 0:
            raise UsageError("temperature and top-k are not negative", hint="--temperature 0.8 --top-k 50")


def write(folder: Path, prompt: str, tokens: int, choice: Choice) -> Iterator[str]:
    """Pieces of the text that follows the prompt, as they come.

    Raises NotFound or StateError for a folder that is no model, UsageError for an impossible wish.
    """
    if not 1 <= tokens <= MAX_TOKENS:
        raise UsageError(f"cannot write {tokens} tokens", hint=f"--tokens takes 1 to {MAX_TOKENS}")
    spec, model = open_model(folder)
    tokenizer = _tokenizer(folder)
    ids: list[int] = tokenizer.encode(prompt, add_special_tokens=False).ids
    if not ids or max(ids) >= spec.model.vocab_size:
        raise UsageError("the prompt has no tokens that the model knows", hint="give it some text to go on with")
    fresh: list[int] = []
    said = ""
    for token in continuation(spec, model, ids, tokens, choice):
        fresh.append(token)
        text: str = tokenizer.decode(fresh, skip_special_tokens=False)
        if not text.endswith(UNFINISHED) or len(fresh) == tokens:  # else: half a character
            yield text[len(said) :]
            said = text


def continuation(spec: JobSpec, model: Model, prompt: list[int], tokens: int, choice: Choice) -> Iterator[int]:
    """Token ids that follow the prompt, one at a time; the model sees the last window of them."""
    window = spec.model.max_position_embeddings if spec.model.weights else spec.batch.sequence_length
    ids = list(prompt)
    for number in range(tokens):
        with torch.no_grad():
            logits = model(torch.tensor([ids[-window:]]))[0, -1].numpy()
        ids.append(choose(logits, choice, uniform(choice.seed, number)))
        yield ids[-1]


def choose(logits: npt.NDArray[np.float32], choice: Choice, point: float) -> int:
    """The token at ``point``, 0 to 1, of the cumulated probabilities, likeliest first; ties by lower id."""
    order = np.argsort(-logits, kind="stable")
    if choice.temperature == 0:
        return int(order[0])
    order = order[: choice.top_k or None]
    scaled = (logits[order].astype(np.float64) - float(logits[order[0]])) / choice.temperature
    cumulated = np.cumsum(np.exp(scaled))
    place = int(np.searchsorted(cumulated, point * cumulated[-1], side="right"))
    return int(order[min(place, len(order) - 1)])


def uniform(seed: int, number: int) -> float:
    """The ``number``-th point of a seed, at least 0 and below 1: a counter-based generator."""
    raw = blake3(f"{seed}/{number}".encode(), derive_key_context="swarmd/sample/1").digest(length=8)
    return (int.from_bytes(raw, "little") >> 11) * 2.0**-53


def _tokenizer(folder: Path) -> Any:  # noqa: ANN401 - the library has no types
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.is_file():
        raise NotFound(f"{folder} has no tokenizer.json", hint="name a model folder that swarmd wrote")
    try:
        return Tokenizer.from_buffer(path.read_bytes())
    except ValueError as error:
        raise StateError(f"{path} is damaged: {error}", hint="export the model again") from error
