"""Entries of one account across committees: reports bind the next members, who may lag behind, to what was voted.

`x` and `y` have the account's first number, `z` has the second and follows `x`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from committees import Committee, joinable, population, tidy

SEQ = {"": 0, "x": 1, "y": 1, "z": 2}
BEFORE = {"x": "", "y": "", "z": "x"}


@dataclass(frozen=True, slots=True, order=True)
class EntryReport:
    committee: int
    ids: str


@dataclass(frozen=True, slots=True, order=True)
class Voter:
    """One honest person: the certified head it knows, its votes (committee, id), and the ids it was told of."""

    active: int = -1
    head: str = ""
    votes: tuple[tuple[int, str], ...] = ()
    told: str = ""
    reports: tuple[EntryReport, ...] = ()

    def handed(self, c: int) -> bool:
        return any(r.committee == c for r in self.reports)


@dataclass(frozen=True, slots=True)
class EntryState:
    voters: tuple[Voter, ...]


@dataclass(frozen=True, slots=True)
class EntryHandover:
    """Every id in `ids` may be signed; without two of one number their owner is honest."""

    committees: tuple[Committee, ...]
    ids: str = "xy"
    without: str = ""

    def start(self) -> EntryState:
        first = self.committees[0].members()
        return EntryState(tuple(Voter(0 if m in first else -1) for m in range(population(self.committees))))

    def steps(self, s: EntryState) -> Iterator[tuple[str, EntryState]]:
        certified = self.certified(s)
        for m, v in enumerate(s.voters):
            for label, new in (*self._work(v, certified), *self._take_in(s, m, v, certified)):
                yield f"{m} {label}", EntryState(tidy(self.committees, (*s.voters[:m], new, *s.voters[m + 1 :])))

    def _work(self, v: Voter, certified: set[str]) -> Iterator[tuple[str, Voter]]:
        for i in sorted(certified):
            if SEQ[i] > SEQ[v.head]:
                yield f"learns the certificate of {i}", replace(v, head=i)
        if v.active < 0 or v.handed(v.active):
            return
        for i in self.ids:
            if BEFORE[i] == v.head and self._free(v, i) and (v.active, i) not in v.votes:
                yield f"votes {i} in {v.active}", replace(v, votes=tuple(sorted((*v.votes, (v.active, i)))))
        if v.active + 1 < len(self.committees):
            yield f"hands over {v.active}", replace(v, reports=(*v.reports, EntryReport(v.active, self._known(v))))

    def _free(self, v: Voter, i: str) -> bool:
        """Whether nothing voted or told keeps this person from voting for `i`."""
        told = v.told
        if self.without == "what was told counts against an own vote" and any(i == j for _, j in v.votes):
            told = ""
        if any(SEQ[j] > SEQ[i] for j in told) and self.without != "no vote below what was told":
            return False
        return all(i == j for j in told if SEQ[j] == SEQ[i]) and all(i == j for _, j in v.votes if SEQ[j] == SEQ[i])

    def _known(self, v: Voter) -> str:
        """The certified head's entry, and what is above it of those voted for and those told of."""
        told = "" if self.without == "reports pass on what was reported" else v.told
        above = {i for i in (*told, *(i for _, i in v.votes)) if SEQ[i] > SEQ[v.head]}
        head = "" if self.without == "reports have the certified entry" else v.head
        return "".join(sorted({*above, *head}))

    def _take_in(self, s: EntryState, m: int, v: Voter, certified: set[str]) -> Iterator[tuple[str, Voter]]:
        for c in joinable(self.committees, m, v.active, [u.reports for u in s.voters]):
            reports = {n: r for n, u in enumerate(s.voters) for r in u.reports if r.committee == c - 1}
            for group in self.committees[c - 1].quorums(set(reports)):
                told = set(v.told).union(*(reports[n].ids for n in group))
                for lie in ("", *(i for i in self.ids if self._signed(i, certified))):
                    new = replace(v, active=c, told="".join(sorted(told | set(lie))))
                    yield f"joins {c} with reports of {group} and the lie {lie or 'nothing'}", new

    def _signed(self, i: str, certified: set[str]) -> bool:
        """Whether the owner may have signed `i` by now: an honest one goes on only from what is certified."""
        return "y" in self.ids or not BEFORE[i] or BEFORE[i] in certified

    def certified(self, s: EntryState) -> set[str]:
        return {
            i
            for i in self.ids
            for n, c in enumerate(self.committees)
            if c.enough({m for m, v in enumerate(s.voters) if (n, i) in v.votes})
        }

    def wrong(self, s: EntryState, final: bool) -> str:
        certified = self.certified(s)
        if {"x", "y"} <= certified:
            return "two certified ids at one (account, seq)"
        return "honest owner wedged" if final and "y" not in self.ids and certified != set(self.ids) else ""
