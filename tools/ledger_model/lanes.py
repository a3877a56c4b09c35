"""Payment lanes of one committee: claims, closes, settlement and the provider's single `received` counter per payer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

Op = tuple[str, int, int]  # (kind, lane, amount)

CLAIMS, QUIET, OVER = range(3)
"""A clock: before expiry + grace/2, between, from expiry + grace on."""


def ticks(clock: int, others: list[int], without: str) -> bool:
    """Whether a clock can go on: clocks that differ by less than grace/2 are never at CLAIMS and at OVER at once."""
    return clock < OVER and (clock == CLAIMS or CLAIMS not in others or without == "clocks agree within grace/2")


def claims_end(without: str) -> int:
    """The first clock that votes for no claim."""
    return OVER if without == "claims end at expiry + grace/2" else QUIET


@dataclass(frozen=True, slots=True, order=True)
class Clerk:
    """One validator's clock by lane, and its lane votes: claims (lane, amount), closes (lane, highest)."""

    view: int = 0
    clocks: tuple[int, ...] = ()
    claims: tuple[tuple[int, int], ...] = ()
    closes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class LaneState:
    clerks: tuple[Clerk, ...]
    chain: tuple[Op, ...] = ()
    received: int = 0
    releases: tuple[tuple[int, int], ...] = ()
    taken_early: bool = False


@dataclass(frozen=True, slots=True)
class Payer:
    sent: int
    opened: int
    lanes: dict[int, int]  # open lane -> cap
    settled: dict[int, int]


@lru_cache(maxsize=100_000)
def payer_at(chain: tuple[Op, ...]) -> Payer:
    sent, lanes, settled = 0, dict[int, int](), dict[int, int]()
    for kind, lane, amount in chain:
        if kind in ("open", "fund"):
            lanes[lane] = amount
        elif kind == "settle":
            del lanes[lane]
            settled[lane] = amount
        sent += amount if kind in ("pay", "settle") else 0
    return Payer(sent, len(lanes) + len(settled), lanes, settled)


@dataclass(frozen=True, slots=True)
class Lanes:
    """A payer and a provider that both try everything; vouchers of every amount up to the cap exist."""

    honest: int = 3
    need: int = 2
    lanes: int = 1
    cap: int = 2
    funds: int = 0
    pays: int = 1
    releases: bool = True
    without: str = ""

    def start(self) -> LaneState:
        return LaneState((Clerk(clocks=(CLAIMS,) * self.lanes),) * self.honest)

    def steps(self, s: LaneState) -> Iterator[tuple[str, LaneState]]:
        p = payer_at(s.chain)
        for op in self._payer_ops(s, p):
            early = op[0] == "settle" and not self._may_end(s, op[1])
            yield f"payer {op}", replace(s, chain=(*s.chain, op), taken_early=s.taken_early or early)
        for lane, cap in p.lanes.items() if self.releases else ():
            for amount in range(1, cap + 1):
                if (lane, amount) not in s.releases:
                    releases = _with(s.releases, (lane, amount))
                    yield f"provider releases {lane} at {amount}", replace(s, releases=releases)
        covers = sorted((self.cover(s, payer_at(s.chain[: c.view])) for c in s.clerks), reverse=True)
        if covers[self.need - 1] > s.received:
            yield f"provider claims {covers[self.need - 1]}", replace(s, received=covers[self.need - 1])
        for i, c in enumerate(s.clerks):
            for label, new in self._local(s, c):
                clerks = tuple(sorted((*s.clerks[:i], new, *s.clerks[i + 1 :])))
                yield f"validator {i} {label}", replace(s, clerks=clerks)

    def _payer_ops(self, s: LaneState, p: Payer) -> Iterator[Op]:
        if p.opened < self.lanes:
            yield ("open", p.opened + 1, self.cap)
        if sum(op[0] == "pay" for op in s.chain) < self.pays:
            yield ("pay", 0, 1)
        for lane, cap in p.lanes.items():
            if sum(op[:2] == ("fund", lane) for op in s.chain) < self.funds:
                yield ("fund", lane, cap + 1)
            votes = sorted(x for c in s.clerks for n, x in c.closes if n == lane)
            # A Byzantine vote in the certificate is either low, and changes nothing, or the lane pays its whole cap.
            yield from (("settle", lane, x) for x in ({*votes[self.need - 1 :], cap} if votes[self.need - 1 :] else ()))

    def _may_end(self, s: LaneState, lane: int) -> bool:
        return any(c.clocks[lane - 1] == OVER for c in s.clerks) or any(n == lane for n, _ in s.releases)

    def _local(self, s: LaneState, c: Clerk) -> Iterator[tuple[str, Clerk]]:
        if c.view < len(s.chain):
            yield "learns the payer's head", replace(c, view=len(s.chain))
        for lane, cap in payer_at(s.chain[: c.view]).lanes.items():
            clock = c.clocks[lane - 1]
            if ticks(clock, [o.clocks[lane - 1] for o in s.clerks], self.without):
                clocks = (*c.clocks[: lane - 1], clock + 1, *c.clocks[lane:])
                yield f"sees lane {lane}'s clock go on to {clock + 1}", replace(c, clocks=clocks)
            closed = [x for n, x in c.closes if n == lane]
            top = min([cap, *(closed if self.without != "claims end at the closing" else ())])
            for amount in range(1, top + 1) if clock < claims_end(self.without) else ():
                if (lane, amount) not in c.claims:
                    yield f"votes claim {lane}:{amount}", replace(c, claims=_with(c.claims, (lane, amount)))
            for x in self._ends(s, c, lane, cap) if not closed else ():
                yield f"closes {lane} at {x}", replace(c, closes=_with(c.closes, (lane, x)))

    def _ends(self, s: LaneState, c: Clerk, lane: int, cap: int) -> set[int]:
        """What this validator may close the lane at: with a release its voucher covers, or by its own clock."""
        highest = max((x for n, x in c.claims if n == lane), default=0)
        finals = [x for n, x in s.releases if n == lane and x <= cap]
        ends = {x if self.without == "highest covers claims" else max(x, highest) for x in finals}
        return ends | ({highest} if c.clocks[lane - 1] == OVER else set())

    def certified_claim(self, s: LaneState, lane: int) -> int:
        amounts = [{x for n, x in c.claims if n == lane} for c in s.clerks]
        return max((x for x in set().union(*amounts) if sum(x in a for a in amounts) >= self.need), default=0)

    def cover(self, s: LaneState, p: Payer) -> int:
        counted = [*p.lanes, *(p.settled if self.without == "only open lanes count" else ())]
        return p.sent + sum(self.certified_claim(s, lane) for lane in counted)

    def wrong(self, s: LaneState, final: bool) -> str:
        p = payer_at(s.chain)
        if s.received > p.sent + sum(self.certified_claim(s, lane) for lane in p.lanes):
            return "received more than was sent or is locked for it: money from nothing"
        if any(paid < self.certified_claim(s, lane) for lane, paid in p.settled.items()):
            return "a lane was settled below a certified claim"
        if s.taken_early:
            return "a lane was settled before its expiry without a release"
        if any(n == m and x > top for c in s.clerks for n, x in c.claims for m, top in c.closes):
            return "an honest validator can be accused of a lane lie"
        if final and (p.lanes or s.received != p.sent):
            return "wedged: a lane stays open or a provider unpaid"
        return ""


T = TypeVar("T", bound=tuple[int, ...])


def _with(items: tuple[T, ...], item: T) -> tuple[T, ...]:
    return tuple(sorted((*items, item)))
