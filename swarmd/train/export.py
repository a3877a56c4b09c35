"""A trained model as a folder: what ``transformers`` opens, and what ``swarmd eval`` and ``sample`` need.

    model.safetensors, config.json            the model, as Hugging Face has it
    tokenizer.json, tokenizer_config.json     likewise
    spec.json                                 the run's spec, readable, and its exact bytes
    eval.json, eval_tokens.bin                the held-out loss, and the tokens it was taken over
    metrics.jsonl                             one line a step

The same weights give the same bytes of model.safetensors. A model in subspace form is written as the plain Llama that
gives the same logits, to rounding.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from swarmd.blobs import BlobStore
from swarmd.protocols.errors import StateError, UsageError
from swarmd.protocols.spec import JobSpec
from swarmd.train.checkpoint import read_weights
from swarmd.train.determinism import deterministic
from swarmd.train.evaluate import Batches
from swarmd.train.folder import EVAL, MODEL, SPEC, evaluate_model, open_model, write_eval_tokens
from swarmd.train.model import config_json
from swarmd.train.subspace import open_subspace
from swarmd.train.tokenizer import write_tokenizer

METRICS = "metrics.jsonl"


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written."""

    out: Path
    weights_sha256: str
    loss: float
    """Held-out, in nats, of the model as read back from its files."""


def export(
    spec: JobSpec, units: Mapping[str, bytes], blobs: BlobStore, data: Batches, metrics: str, out: Path
) -> Exported:
    """Write a whole model folder beside its place and rename it; an older model there is replaced.

    Raises:
        UsageError: ``out`` holds something that is no model of ours.
        StateError: the disk will not take it.
        ProtocolViolation: a unit's bytes are not the tensors of this model.
    """
    with _beside(out) as folder:
        sha256 = write_model(spec, units, blobs, folder)
        (folder / METRICS).write_text(metrics, encoding="utf-8")
        tokens = write_eval_tokens(spec, data, folder)
        found = evaluate_model(*open_model(folder), folder)
        record = {**asdict(found), "weights_sha256": sha256, "tokens_blake3": tokens}
        record["held_out_shards"] = [shard.blob for shard in spec.data.held_out]
        _write_json(folder / EVAL, record)
    return Exported(out, sha256, found.loss)


def write_model(spec: JobSpec, units: Mapping[str, bytes], blobs: BlobStore, folder: Path) -> str:
    """Write weights, config, tokenizer and spec into a folder; gives the SHA-256 of model.safetensors.

    ``units`` holds each unit's weights as safetensors. Raises ProtocolViolation for other tensors.
    """
    deterministic(spec)
    subspace = open_subspace(spec, torch.device("cpu"))
    tensors: dict[str, torch.Tensor] = {}
    for unit, raw in units.items():
        weights = read_weights(spec, unit, raw)
        tensors |= weights if subspace is None else subspace.full_rank(spec.model, unit, weights)
    save_file(tensors, folder / MODEL, metadata={"format": "pt"})
    _write_json(folder / "config.json", config_json(spec.model))
    write_tokenizer(spec, blobs, folder)
    canonical = base64.b64encode(spec.to_bytes()).decode()
    _write_json(folder / SPEC, {"spec_id": spec.spec_id, "spec": asdict(spec), "canonical": canonical})
    with (folder / MODEL).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _beside(out: Path) -> Iterator[Path]:
    """A new folder beside ``out`` that takes its place if nothing fails."""
    if out.exists() and not (out.is_dir() and ((out / SPEC).is_file() or not any(out.iterdir()))):
        raise UsageError(f"{out} exists and is no model of swarmd's", hint="name another folder")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}.new-"))
        try:
            yield folder
            _replace(folder, out)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise StateError(
            f"cannot write {out}: {error.strerror}", hint="free disk space, or name another folder"
        ) from error


def _replace(folder: Path, out: Path) -> None:
    folder.chmod(0o755)
    for file in folder.iterdir():
        file.chmod(0o644)
        with file.open("rb") as handle:
            os.fsync(handle.fileno())
    old = folder.with_name(folder.name + ".old")
    if out.exists():
        out.rename(old)
    folder.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")
