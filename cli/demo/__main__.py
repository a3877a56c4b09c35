"""The demo, step by step. ``swarmd demo`` becomes ``python -m swarmd.cli.demo``."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from swarmd.cli.client import call
from swarmd.cli.demo.children import local_run, sample, sha256_of
from swarmd.cli.demo.credits import Credits, settled_credits
from swarmd.cli.demo.score import Score, as_object, card, nodes_of, stages_of
from swarmd.cli.demo.show import Show, show_for
from swarmd.cli.demo.swarm import LocalSwarm, local_swarm
from swarmd.cli.output import emit, line, report
from swarmd.protocols.control import RunView
from swarmd.protocols.errors import SwarmdError, UsageError, by_code
from swarmd.protocols.jobfile import parse_job

NODES = 4
MAX_NODES = 8
"""The built-in job has eight layers, one for each at most."""
STEPS = 240
PRICE = 4_000_000
"""What every node but the submitter asks: micro-credits per 10^12 operations. The built-in run costs about 4."""
BUDGET = 20
PROMPT = "The "
SUBMIT_SECONDS = 300.0


def main(arguments: list[str]) -> int:
    """Run the demo; 0 when the swarm did what it promises."""
    chosen = _parser().parse_args(arguments)
    for ending in (signal.SIGTERM, signal.SIGHUP):  # the daemons must not outlive us
        if signal.getsignal(ending) is signal.SIG_DFL:
            signal.signal(ending, signal.default_int_handler)
    try:
        return _run(chosen)
    except SwarmdError as error:
        return report(error, as_json=chosen.json)
    except KeyboardInterrupt:
        return 130


def _run(chosen: argparse.Namespace) -> int:
    began = time.monotonic()
    if chosen.job is not None and chosen.steps is not None:
        raise UsageError("--steps is for the built-in job", hint=f"set steps in {chosen.job}")
    folder = _folder(chosen.keep)
    show = show_for(as_json=chosen.json)
    try:
        job = _job(chosen, folder)
        show.say(f"starting {chosen.nodes} daemons on this machine, each with its own state folder")
        with local_swarm(folder / "nodes", chosen.nodes, price=_price(job), fault=chosen.fault) as swarm:
            view = _train(swarm, job, show)
            if view.state != "done":
                raise by_code(view.code, f"the run {view.state}: {view.reason}")
            shutil.copytree(Path(view.directory) / "model", folder / "model")
            show.say("every node that worked is paid, and claims it")
            credits = settled_credits([node.paths for node in swarm.nodes], view.run)
        show.say("the plain loop trains the same spec in one process")
        score = _score(view, swarm, credits, job, folder, began, chosen.keep is not None)
    finally:
        if chosen.keep is None:  # what stays is the model, if there is one
            trained = (folder / "model").exists()
            for place in (folder / "nodes", folder / "reference") if trained else (folder,):
                shutil.rmtree(place, ignore_errors=True)
    emit(as_object(score)) if chosen.json else line("\n" + card(score))
    return 0 if score.good else 1


def _train(swarm: LocalSwarm, job: Path, show: Show) -> RunView:
    submitter = swarm.nodes[0].paths
    show.say("each knows the others; the first one submits the job")
    run = str(call(submitter, "submit", path=str(job), wait=SUBMIT_SECONDS)["run"])
    return show.follow(submitter, run)


def _score(
    view: RunView, swarm: LocalSwarm, credits: Credits, job: Path, result: Path, began: float, kept: bool
) -> Score:
    reference = local_run(job, result / "reference")
    cores = min(len(view.stages), _cores())
    model = result / "model"
    found = sha256_of(model / "model.safetensors")
    return Score(
        run=view.run,
        state=view.state,
        reason=view.reason,
        nodes=nodes_of(view),
        stages=stages_of(view),
        steps=view.steps,
        parameters=view.parameters,
        loss_first=view.evals[0][1],
        loss_last=view.evals[-1][1],
        bigram_loss=reference.bigram_loss,
        reference_loss_last=reference.loss,
        weights_sha256=found,
        reference_sha256=reference.weights_sha256,
        bit_identical=found == reference.weights_sha256,
        tokens_per_s=round(view.tokens_per_s_mean, 1),
        ceiling_tokens_per_s=round(reference.tokens_per_s * cores, 1),
        cores=cores,
        seconds=round(time.monotonic() - began, 1),
        sample=sample(model, PROMPT),
        model_dir=str(model),
        nodes_dir=str(result / "nodes") if kept else "",
        orphans=swarm.orphans,
        credits=credits,
    )


def _folder(keep: Path | None) -> Path:
    """Where everything goes: the folder to keep, which must be new, or a temporary one for the model."""
    if keep is None:
        return Path(tempfile.mkdtemp(prefix="swarmd-demo-"))
    if keep.exists() and (not keep.is_dir() or any(keep.iterdir())):
        raise UsageError(f"{keep} is not an empty folder", hint="give --keep a new one")
    keep.mkdir(parents=True, exist_ok=True)
    return keep.resolve()


def _job(chosen: argparse.Namespace, folder: Path) -> Path:
    """The job file to submit: the user's own, or the built-in one with these numbers in it."""
    if chosen.job is not None:
        return Path(chosen.job).resolve()
    text = Path(__file__).with_name("job.toml").read_text(encoding="utf-8")
    job = folder / "demo.toml"
    values = {"steps": chosen.steps or STEPS, "nodes": chosen.nodes, "credits": BUDGET, "price": PRICE}
    job.write_text(text.format(**values), encoding="utf-8")
    return job


def _price(job: Path) -> int:
    """What the nodes ask: nothing if the job has no budget. A job file with mistakes is the daemon's to refuse."""
    try:
        return PRICE if parse_job(job.read_text(encoding="utf-8"), str(job)).budget.max_credits else 0
    except (SwarmdError, OSError, ValueError):
        return 0


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="swarmd demo", description=main.__doc__)
    parser.add_argument("--nodes", type=int, default=NODES, choices=range(1, MAX_NODES + 1), metavar="N")
    parser.add_argument("--steps", type=int, default=None, metavar="N")
    parser.add_argument("--keep", type=Path, default=None, metavar="DIR")
    parser.add_argument("--job", type=Path, default=None, metavar="FILE")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--fault", default="", help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
