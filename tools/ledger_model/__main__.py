"""Executable model of the credit ledger's rules: `python tools/ledger_model [--full]`.

Prints the states (exhaustive, or breadth first up to a limit) and random schedules it saw, and exits 1 with the trace
of a violation. Then it takes away one rule at a time; each such ablation must be caught, which shows that the model
can see the fault the rule prevents. `--full` (many minutes) goes as deep as it can. Validators named in traces are
honest, with clocks less than grace/2 apart; a Byzantine one is a vote that is always there, with whatever content
helps the attack.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

from committees import Committee, equal
from entries import EntryHandover
from explore import Outcome, explore, wander
from lanehandover import LaneHandover
from lanes import Lanes
from stake import Stakes

SAME = equal((0, 1, 2), (0, 1, 2))
OVERLAP = equal((0, 1, 2), (1, 2, 3), (2, 3, 4))
DISJOINT = equal((0, 1, 2), (3, 4, 5))
DISJOINT3 = equal((0, 1, 2), (3, 4, 5), (6, 7, 8))
WEIGHTED = (
    Committee(((0, 4), (1, 3), (2, 3), (3, 1)), 5),
    Committee(((2, 2), (3, 3), (4, 3), (5, 1), (6, 1)), 4),
    Committee(((0, 2), (6, 2), (7, 2), (8, 1)), 3),
)
TINY = tuple(Committee(((m, 3),), 1) for m in range(3))
"""One honest member each, that nobody outvotes."""
GROWN = (Committee(((0, 1), (1, 1), (2, 1)), 1), Committee(((2, 4), (3, 1), (4, 1)), 2))
"""Who was alone with its vote weighs most in the next committee."""
OF_LANES = ("highest covers claims", "claims end at the closing", "only open lanes count")
OF_CLOCKS = (
    "an expiry never changes",
    "claims end at expiry + grace/2",
    "clocks agree within grace/2",
    "reports carry the highest claim",
    "a bare closing counts by the clock",
    "a lane pays its cap at most",
)
OF_CLOSINGS = ("reports pass on closings", "a former closing ends all claims")
OF_ENTRIES = ("reports have the certified entry", "no vote below what was told", "reports pass on what was reported")
OWN = "what was told counts against an own vote"
Check = tuple[str, Callable[[], Outcome]]


def exhaustive(limit: int) -> list[Check]:
    return [
        ("stake, 4 validators", lambda: explore(Stakes(), limit)),
        ("lane, cap 2", lambda: explore(Lanes(pays=0), limit)),
        ("lane, direct payment", lambda: explore(Lanes(cap=1), limit)),
        ("lane, funded", lambda: explore(Lanes(cap=1, funds=1, pays=0), limit)),
        ("entries, same members", lambda: explore(EntryHandover(SAME), limit)),
        ("entries, new members", lambda: explore(EntryHandover(DISJOINT), limit)),
        ("honest entry, new members", lambda: explore(EntryHandover(DISJOINT, "x"), limit)),
        ("2 numbers, new members", lambda: explore(EntryHandover(DISJOINT, "xyz"), limit)),
        ("2 numbers, honest, new members", lambda: explore(EntryHandover(DISJOINT, "xz"), limit)),
        ("2 numbers, 3 one-member committees", lambda: explore(EntryHandover(TINY, "xyz"), limit)),
        ("lane hand-over, one-member committees", lambda: explore(LaneHandover(TINY[:2], 2, True), limit)),
        ("lane hand-over, same members", lambda: explore(LaneHandover(SAME, 1, True), limit)),
        ("lane hand-over, new members", lambda: explore(LaneHandover(DISJOINT, 1), limit)),
        ("lane hand-over, released", lambda: explore(LaneHandover(DISJOINT, 1, True), limit)),
    ]


def random_walks(n: int) -> list[Check]:
    checks: list[Check] = [
        ("stake, 7 validators", lambda: wander(Stakes(5, 3, 7, 2), 1, n)),
        ("2 lanes, 7 validators", lambda: wander(Lanes(5, 3, 2, 2, 1, 2), 2, n)),
    ]
    for name, c in (("overlapping", OVERLAP), ("disjoint", DISJOINT3), ("weighted", WEIGHTED)):
        checks += [
            (f"entries, 3 {name}", lambda c=c: wander(EntryHandover(c, "xyz"), 3, n)),  # type: ignore[misc]
            (f"honest entries, 3 {name}", lambda c=c: wander(EntryHandover(c, "xz"), 4, n)),  # type: ignore[misc]
            (f"lane, 3 {name}", lambda c=c: wander(LaneHandover(c, 2, True), 5, n)),  # type: ignore[misc]
        ]
    return checks


def ablations(limit: int) -> list[Check]:
    """Each must find a violation."""
    names = ("certificates outlive proofs", "burn follows the head")
    checks: list[Check] = [(n, lambda n=n: explore(Stakes(without=n), limit)) for n in names]  # type: ignore[misc]
    lanes, two = LaneHandover, TINY[:2]
    return [
        *checks,
        *((n, lambda n=n: explore(Lanes(pays=0, without=n), limit)) for n in OF_LANES),
        *((n, lambda n=n: explore(lanes(two, 1, without=n), limit)) for n in OF_CLOCKS),
        *((n, lambda n=n: explore(lanes(TINY, 2, True, n), limit)) for n in OF_CLOSINGS),
        *((n, lambda n=n: explore(EntryHandover(TINY, "xyz", n), limit)) for n in OF_ENTRIES),
        (OWN, lambda: explore(EntryHandover(GROWN, without=OWN), limit)),
    ]


def main(full: bool) -> int:
    bad = 0
    for unit, checks in (
        ("states", exhaustive(3_000_000 if full else 4_000)),
        ("schedules", random_walks(2000 if full else 50)),
    ):
        for name, check in checks:
            found = check()
            bad += bool(found.fault)
            print(f"{name}: {found.seen} {unit}{'' if found.complete else ' (bounded)'}", flush=True)
            print(*show(found), sep="\n", end="")
    for name, check in ablations(60_000):
        found = check()
        bad += not found.fault
        print(f"without '{name}': {'caught' if found.fault else 'NOT CAUGHT'} after {found.seen}", flush=True)
        print(*(show(found) if full else ()), sep="\n", end="")
    return 1 if bad else 0


def show(found: Outcome) -> list[str]:
    lines = [f"  {n:2d} {label}" for n, label in enumerate(found.trace, 1)]
    return [f"  VIOLATION {found.fault}", *lines, ""] if found.fault else []


if __name__ == "__main__":
    sys.exit(main("--full" in sys.argv[1:]))
