"""One open lane across committees: claims, closings by clock and by release, and reports that may lie."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from committees import Committee, joinable, population, tidy
from lanes import CLAIMS, OVER, claims_end, ticks

BARE, RELEASED = 1, 2
"""How a lane was closed: by the clock, or with the provider's release; 0 while it is not."""


@dataclass(frozen=True, slots=True, order=True)
class LaneReport:
    committee: int
    highest: int
    closed: int


@dataclass(frozen=True, slots=True, order=True)
class Teller:
    """One honest person: its clock, its mark of the lane, and its votes (committee, amount)."""

    active: int = -1
    clock: int = CLAIMS
    highest: int = 0
    closed: int = 0
    closed_before: bool = False  # in a former committee, by us or by a report
    claims: tuple[tuple[int, int], ...] = ()
    closes: tuple[tuple[int, int], ...] = ()
    reports: tuple[LaneReport, ...] = ()


@dataclass(frozen=True, slots=True)
class LaneState:
    tellers: tuple[Teller, ...]
    release: int = 0
    extended: bool = False


@dataclass(frozen=True, slots=True)
class LaneHandover:
    """The payer may have signed a voucher above the cap, which a Byzantine member then reports."""

    committees: tuple[Committee, ...]
    cap: int = 2
    releases: bool = False
    without: str = ""

    def start(self) -> LaneState:
        first = self.committees[0].members()
        return LaneState(tuple(Teller(0 if m in first else -1) for m in range(population(self.committees))))

    def steps(self, s: LaneState) -> Iterator[tuple[str, LaneState]]:
        if self.releases and not s.release:
            yield "provider releases at 1", replace(s, release=1)
        if self.without == "an expiry never changes" and not s.extended:
            later = tuple(replace(t, clock=CLAIMS) for t in s.tellers)
            yield "payer extends the lane", replace(s, extended=True, tellers=tidy(self.committees, later))
        clocks = [t.clock for t in s.tellers]
        for m, t in enumerate(s.tellers):
            for label, new in (*self._work(s, t, clocks), *self._take_in(s, m, t)):
                tellers = tidy(self.committees, (*s.tellers[:m], new, *s.tellers[m + 1 :]))
                yield f"{m} {label}", replace(s, tellers=tellers)

    def _work(self, s: LaneState, t: Teller, clocks: list[int]) -> Iterator[tuple[str, Teller]]:
        if ticks(t.clock, clocks, self.without):
            yield f"sees the clock go on to {t.clock + 1}", replace(t, clock=t.clock + 1)
        if t.active < 0 or any(r.committee == t.active for r in t.reports):
            return
        for x in range(1, self._claimable(t) + 1):
            if (t.active, x) not in t.claims:
                claims = tuple(sorted((*t.claims, (t.active, x))))
                yield f"votes claim {x} in {t.active}", replace(t, claims=claims, highest=max(t.highest, x))
        if all(c != t.active for c, _ in t.closes):
            yield from self._close(s, t)
        if t.active + 1 < len(self.committees):
            inherits = self.without != "reports pass on closings" or any(c == t.active for c, _ in t.closes)
            report = LaneReport(t.active, t.highest, t.closed if inherits else 0)
            yield f"hands over {t.active}", replace(t, reports=(*t.reports, report))

    def _claimable(self, t: Teller) -> int:
        """Up to what this person votes for claims now."""
        if t.clock >= claims_end(self.without):
            return 0
        if not t.closed:
            return self.cap
        ended = t.closed_before and self.without != "a former closing ends all claims"
        return 0 if ended else max((min(self.cap, x) for c, x in t.closes if c == t.active), default=0)

    def _close(self, s: LaneState, t: Teller) -> Iterator[tuple[str, Teller]]:
        ways = [t.closed] if t.closed else [BARE] * (t.clock == OVER) + [RELEASED] * (s.release > 0)
        for way in ways:
            top = max(t.highest, s.release if way == RELEASED else 0)
            if top > self.cap and self.without == "a lane pays its cap at most":
                continue
            closes, before = (*t.closes, (t.active, top)), t.closed_before or bool(t.closes)
            new = replace(t, closes=closes, highest=top, closed=way, closed_before=before)
            yield f"closes in {t.active} at {top}", new

    def _take_in(self, s: LaneState, m: int, t: Teller) -> Iterator[tuple[str, Teller]]:
        for c in joinable(self.committees, m, t.active, [u.reports for u in s.tellers]):
            reports = {n: r for n, u in enumerate(s.tellers) for r in u.reports if r.committee == c - 1}
            for group in self.committees[c - 1].quorums(set(reports)):
                honest = [reports[n] for n in group]
                if self.without == "reports carry the highest claim":
                    honest = [replace(r, highest=0) for r in honest]
                for lie in self._lies(s, c - 1):
                    yield f"joins {c} with reports of {group}, lie {lie}", self._joined(t, c, [*honest, *lie])

    def _lies(self, s: LaneState, c: int) -> Iterator[list[LaneReport]]:
        """What a Byzantine member reports: nothing, a closing with or without grounds, a voucher above the cap."""
        yield []
        yield [LaneReport(c, self.cap + 1, 0)]
        yield [LaneReport(c, s.release, RELEASED if s.release else BARE)]

    def _joined(self, t: Teller, c: int, reports: list[LaneReport]) -> Teller:
        told = [r.closed for r in reports if r.closed == RELEASED or self._believed(t, r)]
        closed, highest = max([t.closed, *told]), max([t.highest, *(r.highest for r in reports)])
        return replace(t, active=c, highest=highest, closed=closed, closed_before=t.closed_before or any(told))

    def _believed(self, t: Teller, report: LaneReport) -> bool:
        """A closing without a release counts by the reader's own clock."""
        return report.closed == BARE and (t.clock == OVER or self.without == "a bare closing counts by the clock")

    def wrong(self, s: LaneState, final: bool) -> str:
        committees = range(len(self.committees))
        settled = [min(x, self.cap) for c in committees if (x := self.lowest_close(s, c)) >= 0]
        if settled and min(settled) < max(self.certified_claim(s, c) for c in committees):
            return "a close certificate below a certified claim: money from nothing"
        if not s.release and not s.extended and any(t.closed and t.clock != OVER for t in s.tellers):
            return "a provider is shut out of a lane that has not expired"
        if any(x > top for t in s.tellers for _, x in t.claims for _, top in t.closes):
            return "an honest validator can be accused of a lane lie"
        return "honest payer wedged: no close certificate" if final and not settled else ""

    def certified_claim(self, s: LaneState, c: int) -> int:
        voters = {x: {m for m, t in enumerate(s.tellers) if (c, x) in t.claims} for x in range(1, self.cap + 1)}
        return max((x for x, who in voters.items() if self.committees[c].enough(who)), default=0)

    def lowest_close(self, s: LaneState, c: int) -> int:
        """The least amount some close certificate of committee `c` gives, -1 without one."""
        votes = sorted((x, m) for m, t in enumerate(s.tellers) for n, x in t.closes if n == c)
        for n, (x, _) in enumerate(votes):
            if self.committees[c].enough({m for _, m in votes[: n + 1]}):
                return x
        return -1
