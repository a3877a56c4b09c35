"""Which wires a job may have: pairs of codecs, and evenly spaced boundaries.

A lossy codec changes numbers wherever it applies, so a spec says where: at layers g, 2 g, 3 g and so on. Stages are cut
nowhere else. The layers between two boundaries are a *group*; the last one may be shorter.
"""

from __future__ import annotations

from collections.abc import Iterator

from swarmd.protocols.codecs import RAW, WIRES, wire_name
from swarmd.protocols.spec import WireSpec
from swarmd.protocols.specrules import Fault

MOST_GROUPS = 8
"""Without a word about boundaries, a model has at most so many groups."""


def even_boundaries(layers: int, group: int) -> tuple[int, ...]:
    """Layers before which a model of so many has a boundary, with ``group`` layers between two."""
    return tuple(range(group, layers, group))


def usual_boundaries(layers: int) -> tuple[int, ...]:
    """The boundaries of a lossy wire that names none: every layer up to eight, else an eighth apart, rounded up."""
    return even_boundaries(layers, -(-layers // MOST_GROUPS))


def group_of(wire: WireSpec) -> int:
    """Layers between two places where stages may be cut; 1 for a wire without boundaries."""
    return wire.boundaries[0] if wire.boundaries else 1


def group_count(wire: WireSpec, layers: int) -> int:
    """The most stages that a model of so many layers can be cut into."""
    return len(wire.boundaries) + 1 if wire.boundaries else layers


def wire_faults(wire: WireSpec, layers: int) -> Iterator[Fault]:
    """A pair of codecs that no job may have, or boundaries that do not fit codec and layers."""
    both, where = ("wire.forward", "wire.backward"), "wire.boundaries"
    if wire_name(wire.forward, wire.backward) is None:
        known = ", ".join(" with ".join(pair) for pair in WIRES.values())
        yield Fault(both[1], wire.backward, f"does not go with {wire.forward}; pairs are {known}", both)
    elif wire.forward == RAW:
        if wire.boundaries:
            problem = "raw loses nothing, so stages may be cut anywhere; remove it, or choose another codec"
            yield Fault(where, wire.boundaries, problem, both)
    elif layers == 1:
        problem = "one layer has no boundary that a lossy codec could apply at; use raw"
        yield Fault(both[0], wire_name(wire.forward, wire.backward), problem, (where, "model.num_hidden_layers"))
    else:
        yield from boundary_faults(wire.boundaries, layers)


def boundary_faults(boundaries: tuple[int, ...], layers: int) -> Iterator[Fault]:
    """Boundaries that are not g, 2 g, 3 g ... below the number of layers."""
    first = min(max(1, boundaries[0]), layers - 1) if boundaries else 1
    right = even_boundaries(layers, first)
    if boundaries != right:
        shown = ", ".join(map(str, right[:8])) + (", ..." if len(right) > 8 else "")
        problem = f"must be evenly spaced and reach through all {layers} layers; use [{shown}]"
        yield Fault("wire.boundaries", boundaries, problem, ("model.num_hidden_layers",))
