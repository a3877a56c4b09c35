"""What the demo needs torch for, each in a process of the daemon's side."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmd.cli.demo.show import Progress
from swarmd.cli.spawn import module_command
from swarmd.protocols.errors import StateError, by_code
from swarmd.protocols.jobvalues import printable


@dataclass(frozen=True, slots=True)
class LocalRun:
    """What the plain single-process loop gave."""

    loss: float
    bigram_loss: float
    tokens_per_s: float
    weights_sha256: str


def local_run(job: Path, out: Path) -> LocalRun:
    """Train a job with the plain loop. Raises the error it names."""
    answer = _train("local", str(job), "--out", str(out), "--json", "--progress")
    return LocalRun(*(answer[name] for name in ("loss", "bigram_loss", "tokens_per_s", "weights_sha256")))


def sample(model: Path, prompt: str) -> str:
    """A sentence of the model's, on one line, without what a terminal would obey instead of show."""
    answer = _train("sample", str(model), prompt, "--tokens", "100", "--json")
    return printable(" ".join((prompt + str(answer["text"])).split()))


def sha256_of(path: Path) -> str:
    """The hash of a file on disk."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _train(*arguments: str) -> dict[str, Any]:
    command = module_command("swarmd.train", arguments)
    progress = Progress()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            for line in process.stderr:
                progress.show(line.strip())
            lines = process.stdout.read().strip().splitlines()
        except KeyboardInterrupt:
            process.kill()
            raise
    progress.show("")
    if not lines:
        raise StateError(f"swarmd.train {arguments[0]} ended with exit code {process.returncode} and no result")
    answer: dict[str, Any] = json.loads(lines[-1])
    if "error" in answer:
        raise by_code(answer["error"]["code"], answer["error"]["message"], answer["error"]["hint"])
    return answer
