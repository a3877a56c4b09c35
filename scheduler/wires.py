"""Which wire a job gets that leaves it to the swarm: the least lossy one that the peers' uplinks carry.

It is settled before the spec id exists, so from what peers declare, not from a probe: rates and uplinks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from swarmd.protocols.boundary import frame_bytes, token_bytes
from swarmd.protocols.codecs import RAW, WIRES, wire_name
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.jobtables import AUTO, RunTable, WireTable
from swarmd.protocols.spec import JobSpec, WireSpec
from swarmd.protocols.subspacerules import subspace_words
from swarmd.protocols.tensors import Direction
from swarmd.protocols.wirerules import group_count, group_of
from swarmd.protocols.work import backward_operations, forward_operations
from swarmd.scheduler.explain import milliseconds


@dataclass(frozen=True, slots=True)
class Declared:
    """What a peer says of itself."""

    peer: PeerId
    flops: int
    """Operations per second; 0: not measured yet."""
    uplink_bytes_per_s: float
    """0: not declared, taken as unlimited."""


@dataclass(frozen=True, slots=True)
class WireChoice:
    """A name in ``WIRES``, and why."""

    name: str
    reason: str


def choose_wire(spec: JobSpec, table: WireTable, run: RunTable, peers: Sequence[Declared]) -> WireChoice:
    """What ``auto`` stands for, for a spec whose wire is still open.

    The pipeline is taken to be as long as it may become, of the peers with the highest rates: its period is all
    operations of a micro-batch over the sum of those rates. Its slowest declared uplink must carry what a middle
    stage sends within a period; where the pipeline has two stages, the larger of the two directions.
    """
    layers = spec.model.num_hidden_layers
    groups = group_count(table.resolved(layers, "int4"), layers)
    if layers == 1 or run.min_stages > groups:
        return WireChoice(RAW, f"a lossy codec leaves room for {groups if layers > 1 else 1} stages only")
    team = sorted((peer for peer in peers if peer.flops > 0), key=lambda peer: (-peer.flops, peer.peer))
    team = team[: min(groups, run.max_stages or groups)]
    narrow = [peer for peer in team if peer.uplink_bytes_per_s > 0]
    if len(team) < 2:
        return WireChoice(RAW, "one stage sends nothing")
    if not narrow:
        return WireChoice(RAW, "no peer declares an uplink")
    return _fitting(spec, team, min(narrow, key=lambda peer: (peer.uplink_bytes_per_s, peer.peer)))


def wire_words(spec: JobSpec) -> str:
    """What a resolved spec's wire is, for people; with the subspace that it carries, if there is one."""
    there, back = token_bytes(spec, Direction.FORWARD), token_bytes(spec, Direction.BACKWARD)
    name = wire_name(spec.wire.forward, spec.wire.backward)
    words = f"wire {name}: {there:,} bytes a token there, {back:,} back; {_places(spec.wire)}"
    return "; ".join(filter(None, (words, subspace_words(spec.model))))


def _places(wire: WireSpec) -> str:
    if not wire.boundaries:
        return "stages may be cut anywhere"
    places = f"{len(wire.boundaries)} boundaries" if len(wire.boundaries) > 1 else "one boundary"
    group = group_of(wire)
    apart = f"every {group} layers" if group > 1 else "every layer"
    return f"{places}, {apart}"


def settled(spec: JobSpec, table: WireTable, run: RunTable, peers: Sequence[Declared]) -> tuple[JobSpec, str]:
    """The spec with ``auto`` replaced by what it stands for, and words that say which wire it has and why."""
    if table.codec != AUTO:
        return spec, wire_words(spec)
    choice = choose_wire(spec, table, run, peers)
    wire = table.resolved(spec.model.num_hidden_layers, choice.name)
    chosen = replace(spec, wire=wire)
    return chosen, f"{wire_words(chosen)} (chosen: {choice.reason})"


def _fitting(spec: JobSpec, team: Sequence[Declared], slowest: Declared) -> WireChoice:
    layers = spec.model.num_hidden_layers
    operations = forward_operations(spec, 0, layers) + backward_operations(spec, 0, layers)
    period = operations / sum(peer.flops for peer in team)
    times = {name: _sent(spec, name, len(team)) / slowest.uplink_bytes_per_s for name in WIRES}
    name = next((name for name, time in times.items() if time <= period), list(WIRES)[-1])
    fits = "within" if times[name] <= period else "which is over"
    return WireChoice(
        name,
        f"the uplink of {short(slowest.peer)} needs {milliseconds(times[name])} a micro-batch, {fits} the "
        f"{milliseconds(period)} that {len(team)} stages compute; raw would need {milliseconds(times[RAW])}",
    )


def _sent(spec: JobSpec, name: str, stages: int) -> int:
    forward, backward = WIRES[name]
    wired = replace(spec, wire=WireSpec(forward=forward, backward=backward))
    there, back = (frame_bytes(wired, direction) for direction in (Direction.FORWARD, Direction.BACKWARD))
    return there + back if stages > 2 else max(there, back)
