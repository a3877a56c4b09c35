"""Members of a round on links that keep each sender's order, and nothing else: the test chooses what moves next."""

from __future__ import annotations

import hashlib
from collections import deque
from dataclasses import dataclass

from swarmd.protocols.averaging import LEADER, Commit, Message, RoundPlan, Seat
from swarmd.protocols.ids import PeerId, RunId
from swarmd.scheduler.averaging_actions import Action, Adopt, Expect, Fail, Patience, SendPart, SendResult, Sum, Tell
from swarmd.scheduler.averaging_leader import Leader
from swarmd.scheduler.averaging_member import Member

PATIENCE = Patience(ready=5, gather=20, deliver=40, confirm=10, whole=300)


def plan_of(weights: list[int], shares: list[int] | None = None) -> RoundPlan:
    shares = shares or [1] * len(weights)
    seats = tuple(
        Seat(PeerId(f"peer{place:02}"), *each) for place, each in enumerate(zip(weights, shares, strict=True))
    )
    return RoundPlan(RunId("ab" * 32), 1, 7, "float32", 10_000, seats)


@dataclass(frozen=True)
class Part:
    slice: int
    attempt: int


@dataclass(frozen=True)
class Values:
    slice: int
    attempt: int
    digest: bytes | None


class World:
    """Everybody's machines; dead members say and hear nothing."""

    def __init__(self, plan: RoundPlan, *, liars: frozenset[int] = frozenset()) -> None:
        self.plan, self.now, self.liars = plan, 0.0, liars
        self.places = range(len(plan.seats))
        self.members = [Member(plan, place, PATIENCE, 0.0) for place in self.places]
        self.leader = Leader(plan, PATIENCE, 0.0)
        self.queues = {(a, b): deque[object]() for a in self.places for b in self.places}
        self.dead: set[int] = set()
        self.cut: set[tuple[int, int]] = set()
        self.expects: dict[tuple[int, int], int] = {}
        self.digests: dict[tuple[int, int, int], bytes] = {}
        self.adopted: dict[int, Commit] = {}
        self.failed: dict[int, str] = {}
        self.sums: list[tuple[int, Sum]] = []

    def start(self) -> None:
        for place in self.places:
            self.act(place, self.members[place].start())

    def act(self, place: int, actions: list[Action] | list[Tell]) -> None:
        for action in actions:
            match action:
                case Tell(to, message):
                    self.post(place, to, message)
                case SendPart(number, attempt, to):
                    self.post(place, to, Part(number, attempt))
                case Expect(number, attempt, _):
                    self.expects[place, number] = attempt
                case Sum():
                    self.sums.append((place, action))
                case SendResult(number, attempt, to):
                    digest = self.digests[place, number, attempt]
                    lie = hashlib.sha256(bytes([to])).digest() if place in self.liars else digest
                    self.post(place, to, Values(number, attempt, lie))
                case Adopt(commit):
                    assert place not in self.adopted | self.failed
                    self.adopted[place] = commit
                case Fail(reason):
                    assert place not in self.adopted | self.failed
                    self.failed[place] = reason

    def post(self, sender: int, to: int, item: object) -> None:
        if to not in self.dead and (sender, to) not in self.cut:
            self.queues[sender, to].append(item)

    def movable(self) -> list[tuple[int, int]]:
        return [link for link, queue in self.queues.items() if queue and not self._blocked(link[1], queue[0])]

    def move(self, link: tuple[int, int]) -> None:
        sender, to = link
        item = self.queues[link].popleft()
        if to in self.dead:
            return
        match item:
            case Part(number, attempt):
                self.act(to, self.members[to].part_came(number, attempt, sender))
            case Values(number, attempt, digest):
                self.act(to, self.members[to].result_came(number, attempt, digest))
            case "lost":
                self.act(to, self.members[to].lost(sender, self.now))
                if to == LEADER:
                    self.act(LEADER, self.leader.lost(sender, self.now))
            case _:
                self._hear(sender, to, item)  # type: ignore[arg-type]

    def sum_next(self) -> None:
        place, asked = self.sums.pop(0)
        if place not in self.dead:
            digest = hashlib.sha256(repr((asked.slice, asked.contributors)).encode()).digest()
            self.digests[place, asked.slice, asked.attempt] = digest
            done = self.members[place].summed(asked.slice, asked.attempt, asked.contributors, digest)
            self.act(place, done)

    def kill(self, place: int, kept: int) -> None:
        """``place`` dies; of what it has on its way, each other one still gets at most ``kept`` items."""
        self.dead.add(place)
        for other in self.places:
            queue = self.queues[place, other]
            while len(queue) > kept:
                queue.pop()
            queue.append("lost")

    def cut_link(self, a: int, b: int) -> None:
        for link in ((a, b), (b, a)):
            self.cut.add(link)
            self.queues[link].append("lost")

    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.act(LEADER, [] if LEADER in self.dead else self.leader.tick(self.now))
        for place in set(self.places) - self.dead:
            self.act(place, self.members[place].tick(self.now))

    def run(self) -> None:
        """Until everybody who lives is through."""
        for _ in range(10_000):
            if self.sums:
                self.sum_next()
            elif links := self.movable():
                self.move(links[0])
            elif self.open():
                self.tick(1.0)
            else:
                return
        raise AssertionError("the round does not end")

    def open(self) -> set[int]:
        return {place for place in self.places if not self.members[place].over} - self.dead

    def check(self) -> None:
        assert len(set(self.adopted.values())) <= 1
        for place, commit in self.adopted.items():
            assert place in commit.members

    def _blocked(self, to: int, item: object) -> bool:
        """Values wait on their link until the round is as far at the receiver."""
        if not isinstance(item, Part | Values) or self.members[to].over or to in self.dead:
            return False
        return item.attempt > self.expects.get((to, item.slice), -1)

    def _hear(self, sender: int, to: int, message: Message) -> None:
        kind = type(message).__name__
        if kind in ("Ready", "Have", "Complaint"):
            assert to == LEADER
            self.act(LEADER, self.leader.heard(sender, message, self.now))
        else:
            self.act(to, self.members[to].heard(sender, message, self.now))
