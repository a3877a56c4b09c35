"""Small job specs with real text, for tests."""

from __future__ import annotations

from pathlib import Path

from swarmd.blobs import BlobStore
from swarmd.protocols.jobfile import parse_job
from swarmd.protocols.spec import JobSpec
from swarmd.train.prepare import prepare

TEXT = "".join(
    f"Line {n} of a small text: {n * n} is the square of {n}, and {n + 7} comes seven later.\n" for n in range(1500)
)

JOB = """
name = "small"
steps = {steps}
[model]
layers = {layers}
hidden = 16
heads = 2
kv_heads = 1
feed_forward = 24
[data]
text = "text.txt"
[batch]
sequence_length = 16
micro_batch_size = 2
micro_batches = 3
[optimizer]
warmup_steps = 2
[evaluation]
every = 2
windows = 4
[checkpoint]
every = 2
"""


def small_job(folder: Path, *, steps: int = 4, layers: int = 3) -> Path:
    """A job file beside its text."""
    (folder / "text.txt").write_text(TEXT)
    job = folder / "job.toml"
    job.write_text(JOB.format(steps=steps, layers=layers))
    return job


def small_spec(folder: Path, blobs: BlobStore, *, steps: int = 4, layers: int = 3) -> JobSpec:
    """The resolved spec of ``small_job``."""
    job = small_job(folder, steps=steps, layers=layers)
    return prepare(parse_job(job.read_text(), str(job)), folder, blobs)
