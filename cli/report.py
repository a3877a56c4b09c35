"""A run in words: what ``jobs show`` prints, what ends ``train --wait``, and one line of its log."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.text import Text

from swarmd.cli import tables, units
from swarmd.cli.chart import sparkline
from swarmd.cli.palette import ACCENT, BAD, DIM, LEVEL_STYLES, STRONG
from swarmd.cli.spending import spending_rows
from swarmd.protocols.control import EventView, RunView
from swarmd.protocols.errors import Refused

_SPARK = 48
_RUNGS = {
    "replica": "another replica took over",
    "checkpoint": "from the newest checkpoint, with the peers that were left",
    "term": "from the newest checkpoint, with peers that were asked anew",
}


def run(view: RunView) -> RenderableType:
    """Everything about a run."""
    parts: list[RenderableType] = [tables.grid(_facts(view))]
    if view.stages:
        parts += [Text(), tables.stages(view.stages)]
        reasons = {each.index: (f"stage {each.index}", each.reason) for each in view.stages if each.reason}
        parts += [Text(), tables.grid(list(reasons.values()))] if reasons else []
    return Group(*parts)


def summary(view: RunView) -> RenderableType:
    """How a run ended, and where its result is."""
    rows: list[tuple[str, str | Text]] = [("", tables.state(view.state)), *_curve(view), *_speed(view)]
    if view.reason:
        rows.append(("reason", Text(view.reason, style=BAD if view.state == "failed" else "")))
    rows.append(("files", files(view)))
    return tables.grid(rows)


def what_next(view: RunView) -> str:
    """What to type after a run has ended."""
    name = view.run[:8]
    if view.state == "done":
        return f'  swarmd sample {name} "Once upon a time"\n  swarmd jobs fetch {name} DIR'
    logs = f"  swarmd jobs logs {name}       what happened"
    if view.code == Refused.code:
        return f"{logs}\n  swarmd train JOB.toml        tries again, as a new run"
    resume = f"  swarmd train --resume {name}   goes on from {_kept(view)}"
    return f"{resume}\n{logs}"


def files(view: RunView) -> str:
    """Where the result is, or the records of a run without one."""
    return f"{view.directory}/model" if view.state == "done" else view.directory


def event(view: EventView) -> Text:
    """One line of a log."""
    style = LEVEL_STYLES.get(view.level, DIM)
    mark = "" if view.level == "info" else f"{view.level}: "
    return Text.assemble((units.clock(view.time), DIM), " ", (mark, style), view.text)


def progress_line(view: RunView) -> str:
    """A run's state in one plain line."""
    if view.state != "training":
        return f"{view.state}" + (f": {view.reason}" if view.reason else "")
    return f"training step {view.step}/{view.steps}" + (f" {figures(view)}" if view.loss is not None else "")


def figures(view: RunView) -> str:
    """A training run's loss, speed and time left."""
    left = f"{units.duration(view.eta)} left"
    return f"loss {units.loss(view.loss)}  {units.speed(view.tokens_per_s)} tok/s  {left}"


def _kept(view: RunView) -> str:
    return "the start" if view.checkpoint is None else f"step {view.checkpoint}"


def _facts(view: RunView) -> list[tuple[str, str | Text]]:
    return [
        ("run", Text(view.run, style=STRONG)),
        ("name", view.name),
        ("state", tables.state(view.state)),
        *([("reason", view.reason)] if view.reason else []),
        ("spec", units.short_id(view.spec)),
        ("started", units.moment(view.created)),
        ("step", f"{view.step:,} of {view.steps:,}"),
        *_curve(view),
        *_speed(view),
        *_recoveries(view),
        *spending_rows(view.spending),
        ("parameters", units.scaled(view.parameters)),
        ("checkpoint", "none yet" if view.checkpoint is None else f"step {view.checkpoint:,}"),
        ("files", files(view)),
        *([("weights", f"sha256 {view.weights_sha256}")] if view.weights_sha256 else []),
    ]


def _recoveries(view: RunView) -> list[tuple[str, str | Text]]:
    if not view.recoveries:
        return []
    last = view.recoveries[-1]
    how = _RUNGS.get(last.rung, last.rung)
    times = units.counted(len(view.recoveries), "time")
    return [("recovered", f"{times}, last at step {last.step:,} after {last.seconds:.1f} s: {how}")]


def _curve(view: RunView) -> list[tuple[str, str | Text]]:
    if view.loss is None:
        return []
    line = Text.assemble(units.loss(view.loss), "  ", (sparkline([y for _, y in view.losses], _SPARK), ACCENT))
    held_out = [("held out", f"{units.loss(view.evals[-1][1])}  at step {view.evals[-1][0]:,}")] if view.evals else []
    return [("loss", line), *held_out]


def _speed(view: RunView) -> list[tuple[str, str | Text]]:
    if not view.elapsed:
        return []
    left = f", {units.duration(view.eta)} left" if view.eta is not None and view.state == "training" else ""
    return [("speed", f"{units.speed(view.tokens_per_s_mean)} tok/s over {units.duration(view.elapsed)}{left}")]
