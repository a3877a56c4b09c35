"""The planner's reasons, in words for people."""

from __future__ import annotations

from collections.abc import Sequence

from swarmd.protocols.errors import RunFailed
from swarmd.protocols.ids import short
from swarmd.scheduler.profiles import ModelProfile, Place, WorkerProfile


def why_here(worker: WorkerProfile, first: int, end: int, time: float, uplink: float, period: float) -> str:
    """Why a peer holds layers ``first`` to ``end - 1``."""
    layers = f"layers {first}-{end - 1}" if end - first > 1 else f"layer {first}"
    bound = ", set by its uplink" if uplink == time > 0 else ""
    share = "the slowest stage" if time == period else f"of {milliseconds(period)}"
    return f"{short(worker.peer)}: {layers}, {milliseconds(time)}{bound}, {share}"


def why_left_out(worker: WorkerProfile, model: ModelProfile, period: float, least: int, most: int) -> str:
    """Why a usable peer has no stage in a plan of this period."""
    name = f"left out {short(worker.peer)}"
    uplink = worker.uplink_seconds(model, Place.MIDDLE)
    unit = "layer" if model.group == 1 else f"group of {model.group} layers"
    if not any(worker.fitting_groups(model, place) for place in Place):
        need = size(model.memory(model.group, Place.MIDDLE))
        return f"{name}: its {size(worker.memory_bytes)} of memory hold no {unit} of {need}"
    if uplink > period:
        return f"{name}: its uplink needs {milliseconds(uplink)} a micro-batch"
    if (seconds := model.group * worker.seconds_per_layer) > period:
        return f"{name}: one {unit} takes it {milliseconds(seconds)}"
    return f"{name}: no pipeline of {least} to {most} stages is faster with it"


def why_spared(worker: WorkerProfile, price: int) -> str:
    """Why a plan that had to be cheap has no stage for a peer."""
    return f"left out {short(worker.peer)}: it asks {price:,} micro-credits per 10^12 operations, over the run's budget"


def why_unlike(worker: WorkerProfile) -> str:
    """Why a peer was not usable at all."""
    return f"left out {short(worker.peer)}: its numerics class {worker.numerics} is not the run's"


def too_few(usable: int, model: ModelProfile, least: int, most: int | None) -> RunFailed:
    """No pipeline has the number of stages asked for."""
    layers = f"{model.layers} layers" + (f" in {model.groups} groups" if model.group > 1 else "")
    allowed = "any number of" if most is None else f"at most {most}"
    return RunFailed(
        f"a pipeline of {least} or more stages cannot be made: there are {usable} usable peers and "
        f"{layers}, and the job allows {allowed} stages",
        hint="start more peers, or ask for fewer stages",
    )


def does_not_fit(
    workers: Sequence[WorkerProfile], model: ModelProfile, fitting: int, least: int, most: int
) -> RunFailed:
    """No split is within every peer's memory."""
    need, have = model.memory(model.layers, Place.ONLY), sum(worker.memory_bytes for worker in workers)
    return RunFailed(
        f"the model does not fit the peers' memory: it needs {size(need)} and they lend {size(have)}; "
        f"{fitting} of its {model.layers} layers fit a pipeline of {least} to {most} stages",
        hint="start more peers, raise their memory limit, or use a smaller model or micro-batch",
    )


def milliseconds(seconds: float) -> str:
    """A time, to three digits."""
    return f"{seconds * 1000:.3g} ms"


def size(count: int) -> str:
    """A number of bytes."""
    return f"{count / 2**20:,.0f} MiB" if count >= 2**20 else f"{count:,} bytes"


def why_these(first: int, end: int, shares: Sequence[str], rate: float, *, slowest: bool) -> str:
    """Why these peers hold layers ``first`` to ``end - 1`` together."""
    layers = f"layers {first}-{end - 1}" if end - first > 1 else f"layer {first}"
    standing = ", the slowest stage" if slowest else ""
    return f"{layers}, {rate:.3g} a second{standing}: {', '.join(shares)}"


def why_idle(worker: WorkerProfile, model: ModelProfile) -> str:
    """Why a peer is nobody's replica."""
    if not any(worker.fitting_groups(model, place) for place in Place):
        return why_left_out(worker, model, 0.0, 0, 0)
    return f"left out {short(worker.peer)}: the slowest stage is no faster with it"


def share_of(worker: WorkerProfile, share: float, time: float, *, by_uplink: bool) -> str:
    """One replica's part in its stage."""
    bound = " by its uplink" if by_uplink else ""
    return f"{short(worker.peer)} {share:.0%} ({milliseconds(time)}{bound})"
