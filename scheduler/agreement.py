"""Replicas of a stage commit the same steps with the same bits: what each says of them must be the same.

One that says something else has other weights, by a fault or a lie, and nobody can tell which of them is right.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from swarmd.protocols.errors import RunFailed


@dataclass(slots=True)
class _Word:
    """What the first replica said, and how many have said the same."""

    place: int
    said: Hashable
    count: int = 1


class Agreement:
    """What the replicas of each stage have said, until all of them have."""

    def __init__(self, groups: Sequence[Sequence[int]]) -> None:
        """The places of each stage."""
        self._group = {place: group for group in groups for place in group}
        self._open: dict[tuple[int, str, int], _Word] = {}

    def said(self, place: int, what: str, step: int, said: Hashable) -> None:
        """A place says this of a step, once. Raises RunFailed if another replica said something else."""
        group = self._group[place]
        if len(group) == 1:
            return
        key = (group[0], what, step)
        word = self._open.get(key)
        if word is None:
            self._open[key] = _Word(place, said)
            return
        if word.said != said:
            raise RunFailed(
                f"replicas of a stage differ: places {word.place} and {place} have different {what} of step {step}",
                hint="start the run again from its last checkpoint, without one of the two",
            )
        word.count += 1
        if word.count == len(group):
            del self._open[key]
