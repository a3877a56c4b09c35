"""``python -m swarmd.train``: the plain loop, evaluation, sampling, and the assembly of a finished run."""

from __future__ import annotations

import argparse
import json
import math
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from swarmd.blobs import BlobStore
from swarmd.protocols.checkpoint import parse_checkpoint
from swarmd.protocols.errors import NotFound, SwarmdError, UsageError
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import MAX_SPEC_BYTES, JobSpec, parse_spec
from swarmd.scheduler.batching import batch_words
from swarmd.scheduler.wires import wire_words
from swarmd.train.heap import keep_freed_memory
from swarmd.train.shortage import failure

Answer = dict[str, Any]


def local(args: argparse.Namespace) -> Answer:
    """Train a job in this process alone, and write the model.

    Raises UsageError, before it trains, for a folder that holds something when ``--force`` is not given.
    """
    if not args.force and args.out.exists() and not (args.out.is_dir() and not any(args.out.iterdir())):
        raise UsageError(f"{args.out} exists already", hint="name another folder, or replace it with --force")
    from swarmd.train.compiled import prepare_compiler

    with tempfile.TemporaryDirectory(prefix="swarmd-") as scratch:
        prepare_compiler(Path(scratch) / "compiled")
        return _train(args, BlobStore(args.blobs or Path(scratch)))


def _train(args: argparse.Namespace, blobs: BlobStore) -> Answer:
    from swarmd.train.bigram import bigram_loss
    from swarmd.train.data import TokenData
    from swarmd.train.export import export
    from swarmd.train.loop import train
    from swarmd.train.metrics import metrics_lines

    spec = _job(args.job, blobs)
    data = TokenData(spec, blobs.get)
    print(wire_words(spec), batch_words(spec), sep="\n", file=sys.stderr)
    began = time.perf_counter()
    trained = train(spec, data, on_row=_progress(spec, args.progress), blobs=blobs)
    seconds = time.perf_counter() - began
    weights = {name: unit.weight_bytes() for name, unit in trained.units.items()}
    made = export(spec, weights, blobs, data, metrics_lines(trained.rows), args.out)
    return {
        "out": str(made.out),
        "spec": spec.spec_id,
        "wire": wire_words(spec),
        "batch": batch_words(spec),
        "steps": spec.schedule.steps,
        "loss": made.loss,
        "bigram_loss": bigram_loss(spec, data),
        "tokens_per_s": spec.schedule.steps * spec.batch.tokens_per_step / seconds,
        "weights_sha256": made.weights_sha256,
    }


def evaluate(args: argparse.Namespace) -> Answer:
    """Measure a model folder's held-out loss again."""
    from swarmd.train.folder import evaluate_model, open_model, recorded

    found = evaluate_model(*open_model(args.folder), args.folder)
    before = recorded(args.folder).get("loss")
    return {**asdict(found), "recorded_loss": before, "same": found.loss == before}


def sample(args: argparse.Namespace) -> Answer:
    """Let a model folder's model write; without --json the text comes as it is made."""
    from swarmd.train.sample import Choice, write

    choice = Choice(temperature=args.temperature, top_k=args.top_k, seed=args.seed)
    pieces: list[str] = []
    for piece in write(args.folder, args.prompt, args.tokens, choice):
        if not args.json:
            print(piece if pieces else args.prompt + piece, end="", flush=True)
        pieces.append(piece)
    return {"prompt": args.prompt, "text": "".join(pieces), "tokens": args.tokens}


def assemble(args: argparse.Namespace) -> Answer:
    """Gather the units of a checkpoint and write the model that the daemon's run gave."""
    from swarmd.train.data import TokenData
    from swarmd.train.export import export
    from swarmd.train.metrics import metrics_lines, rows_of

    blobs = BlobStore(args.blobs)
    spec = _job(args.spec, blobs)
    checkpoint = parse_checkpoint(blobs.get(BlobHash(args.checkpoint)))
    units = {state.unit: blobs.get(state.weights) for state in checkpoint.units}
    metrics = metrics_lines(rows_of(_read(args.metrics).decode(), spec))
    made = export(spec, units, blobs, TokenData(spec, blobs.get), metrics, args.out)
    return {"out": str(made.out), "weights_sha256": made.weights_sha256, "loss": made.loss}


def _job(path: Path, blobs: BlobStore) -> JobSpec:
    """A job file (``.toml``), resolved; or a spec's canonical bytes, whose blobs are there."""
    if path.suffix == ".toml":
        from swarmd.train.prepare import prepare, read_job

        return prepare(read_job(path), path.parent, blobs)
    return parse_spec(_read(path, MAX_SPEC_BYTES))


def _read(path: Path, limit: int = 1 << 30) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(limit)
    except FileNotFoundError:
        raise NotFound(f"{path} is not there", hint="check the path") from None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint="check its permissions") from error


def _progress(spec: JobSpec, wanted: bool) -> Callable[[Any], None]:
    steps = spec.schedule.steps
    every = max(1, steps // 30)

    def say(row: Any) -> None:  # noqa: ANN401 - a row of the loop, which must not be imported here
        if not hasattr(row, "lr"):
            print(f"step {row.step}  held out {row.loss:.4f}", file=sys.stderr, flush=True)
        elif row.step % every == 0:
            print(f"step {row.step} of {steps}  loss {row.loss:.4f}", file=sys.stderr, flush=True)

    return say if wanted or sys.stderr.isatty() else lambda row: None


def _words(answer: Answer) -> str:
    if "text" in answer:
        return ""
    if "recorded_loss" in answer:
        same = "the same bits as recorded" if answer["same"] else f"recorded: {answer['recorded_loss']}"
        return f"held out {answer['loss']:.4f} nats over {answer['targets']:,} tokens ({same})"
    return f"wrote {answer['out']}  held-out loss {answer['loss']:.4f} nats\nsha256 {answer['weights_sha256']}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m swarmd.train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    made = commands.add_parser("local", help="train in this process alone")
    made.add_argument("job", type=Path, metavar="JOB.toml|SPEC")
    made.add_argument("--out", type=Path, required=True, metavar="DIR")
    made.add_argument("--blobs", type=Path, metavar="DIR", help="where shards are kept; else a temporary folder")
    made.add_argument("--force", action="store_true", help="replace the model that DIR holds")
    made.add_argument("--progress", action="store_true", help="say each step on stderr")
    made.set_defaults(run=local)
    made = commands.add_parser("eval", help="measure the held-out loss again")
    made.add_argument("folder", type=Path, metavar="DIR")
    made.set_defaults(run=evaluate)
    made = commands.add_parser("sample", help="let a model write")
    made.add_argument("folder", type=Path, metavar="DIR")
    made.add_argument("prompt", metavar="PROMPT")
    made.add_argument("--tokens", type=int, default=200)
    made.add_argument("--temperature", type=float, default=0.8)
    made.add_argument("--top-k", type=int, default=50)
    made.add_argument("--seed", type=int, default=0)
    made.set_defaults(run=sample)
    made = commands.add_parser("assemble", help="write the model of a finished run; always answers in JSON")
    made.add_argument("--spec", type=Path, required=True, metavar="FILE")
    made.add_argument("--blobs", type=Path, required=True, metavar="DIR")
    made.add_argument("--checkpoint", required=True, metavar="HASH")
    made.add_argument("--metrics", type=Path, required=True, metavar="FILE")
    made.add_argument("--out", type=Path, required=True, metavar="DIR")
    made.set_defaults(run=assemble)
    for each in commands.choices.values():
        each.add_argument("--json", action="store_true", help="answer with one JSON object")
    return parser


def main(arguments: list[str]) -> int:
    """Run one command; gives the exit code."""
    args = _parser().parse_args(arguments)
    args.json = args.json or args.command == "assemble"
    try:
        answer = args.run(args)
    except SwarmdError as error:
        return _fail(error, args.json)
    except (RuntimeError, MemoryError, OSError) as error:  # torch's words for a device that failed
        return _fail(failure(error, what="the command"), args.json)
    except KeyboardInterrupt:
        return 130
    print(json.dumps(_finite(answer)) if args.json else _words(answer))
    return 0


def _finite(answer: Answer) -> Answer:
    """JSON has no word for a loss that is not a number."""
    bad = [key for key, value in answer.items() if isinstance(value, float) and not math.isfinite(value)]
    return answer | dict.fromkeys(bad)


def _fail(error: SwarmdError, as_json: bool) -> int:
    if as_json:
        print(json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}))
    else:
        print(f"swarmd: {error.message}" + (f"\n  next: {error.hint}" if error.hint else ""), file=sys.stderr)
    return error.exit_code


if __name__ == "__main__":
    keep_freed_memory()
    sys.exit(main(sys.argv[1:]))
