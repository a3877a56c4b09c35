"""Resolving a job file: read its text, tokenizer and checkpoint, keep them as blobs, give the spec.

Run as ``python -m swarmd.train.prepare JOB.toml --blobs DIR`` it prints one line of JSON: the spec, or
the error. The daemon starts it as a process of its own, so that tokenising never holds its loop.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

from swarmd.blobs import BlobStore
from swarmd.protocols.errors import NotFound, SwarmdError, UsageError
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.jobfile import JobFile, decode_job, parse_job
from swarmd.protocols.jobrules import stage_faults
from swarmd.protocols.jobtext import MAX_JOB_BYTES
from swarmd.protocols.spec import JobSpec, ModelSpec
from swarmd.protocols.speccheck import spec_faults
from swarmd.scheduler.batching import cut_alone
from swarmd.train.corpus import read_corpus
from swarmd.train.importing import import_checkpoint, read_config
from swarmd.train.resolving import check_enough, make_data
from swarmd.train.tokenizer import Tokenizer, bytes_tokenizer, file_tokenizer


def prepare(job: JobFile, base: Path, blobs: BlobStore) -> JobSpec:
    """The resolved spec of a job. Paths in the job start at ``base``, the job file's folder.

    The same files give the same spec id. A wire of ``auto`` is ``raw`` here, and a batch that names
    no micro-batch is cut for one process: who submits the job settles both.

    Raises:
        NotFound: a text, tokenizer or checkpoint file is not there.
        UsageError: a file cannot be used, the text is too short, or sizes do not fit together.
        StateError: the disk will not take the blobs.
    """
    tokenizer = tokenizer_of(job, base, blobs.put)
    model = sizes_of(job, base, tokenizer)
    text = read_corpus(job.data, base)
    data = make_data(text, tokenizer, model.vocab_size, blobs)
    check_enough(job, data, len(text))
    spec = JobSpec(
        name=job.name,
        seed=job.seed,
        model=model,
        tokenizer=tokenizer.spec,
        data=data,
        optimizer=job.optimizer,
        batch=job.batch.cut(),
        schedule=job.schedule,
        numerics=job.numerics,
        averaging=job.averaging,
        wire=job.wire.resolved(model.num_hidden_layers),
    )
    spec = cut_alone(spec, job.batch)
    _check(job, spec)
    if job.model.checkpoint is None:
        return spec
    return replace(spec, model=import_checkpoint(base / job.model.checkpoint, blobs))


def read_job(path: Path) -> JobFile:
    """A job file from disk. Raises NotFound, UsageError or JobFileError."""
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_JOB_BYTES + 1)
    except FileNotFoundError as error:
        raise NotFound(f"{path} is not there", hint="name a job file") from error
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="name a job file") from error
    return parse_job(decode_job(raw, str(path)), str(path))


def tokenizer_of(job: JobFile, base: Path, put: Callable[[bytes], BlobHash]) -> Tokenizer:
    """The tokenizer that a job names; ``put`` keeps its file. Raises NotFound or UsageError."""
    wish = job.tokenizer
    if wish.kind == "bytes":
        return bytes_tokenizer()
    if wish.kind == "file" and wish.file is not None:
        return file_tokenizer(base / wish.file, put)
    beside = base / (job.model.checkpoint or ".") / "tokenizer.json"
    if not beside.is_file():
        raise NotFound(
            f"{beside} is not there, and the job names no tokenizer",
            hint='add [tokenizer] with file = "FILE", or with kind = "bytes"',
        )
    return file_tokenizer(beside, put)


def sizes_of(job: JobFile, base: Path, tokenizer: Tokenizer) -> ModelSpec:
    """The sizes of a job's model, by its own or its checkpoint's. Raises NotFound or UsageError."""
    checkpoint = job.model.checkpoint
    sizes = job.model.resolved(tokenizer.vocabulary) if checkpoint is None else read_config(base / checkpoint)
    if sizes.vocab_size < tokenizer.vocabulary:
        raise UsageError(
            f"the tokenizer needs a vocabulary of {tokenizer.vocabulary}; the model's is {sizes.vocab_size}",
            hint="use the tokenizer that belongs to the checkpoint" if checkpoint else "remove model.vocab",
        )
    return sizes


def _check(job: JobFile, spec: JobSpec) -> None:
    faults = [*spec_faults(spec), *stage_faults(job.run, spec.model.num_hidden_layers, spec.wire)]
    if faults:
        lines = [f"{fault.field} = {fault.value!r}: {fault.problem}" for fault in faults]
        raise UsageError("\n".join(lines), hint="correct the job file")


def main(arguments: list[str]) -> int:
    """Print the spec of a job file, or why there is none, as one line of JSON. Gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m swarmd.train.prepare", description="Resolve a job file.")
    parser.add_argument("job", type=Path, metavar="JOB.toml")
    parser.add_argument("--blobs", type=Path, required=True, metavar="DIR", help="where blobs are kept")
    chosen = parser.parse_args(arguments)
    try:
        job = read_job(chosen.job)
        spec = prepare(job, chosen.job.parent, BlobStore(chosen.blobs))
    except SwarmdError as error:
        print(json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}))
        return error.exit_code
    encoded = base64.b64encode(spec.to_bytes()).decode()
    tables = {name: asdict(getattr(job, name)) for name in ("run", "wire", "batch", "budget")}
    print(json.dumps({"spec": encoded, "spec_id": spec.spec_id, **tables}))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
