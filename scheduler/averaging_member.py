"""One member of an averaging round.

    state       event                                     what follows
    waiting     Begin                                     our parts go to the slices' owners   -> averaging
    averaging   all parts of a slice we own came,         Sum over those that came whole
                or its time is over
    averaging   a slice is summed                         its result goes to all, Have to the leader
    averaging   a result came                             Have to the leader
    averaging   an owner is lost, a result cannot be      Complaint to the leader
    averaging   Redo                                      our part goes to the new owner
    averaging   Commit                                    Seen to all                          -> confirming
    averaging   the leader is lost                        Orphan to all                        -> orphaned
    orphaned    another's Seen                            Seen to all                          -> confirming
    orphaned    all others are orphaned or gone           Abort to all                         -> failed
    confirming  all others saw the same, or are gone,     Adopt                                -> adopted
                or the wait is over
    confirming  another saw a different commit            Abort to all                         -> failed
    any         dropped, an Abort, the time is over       Abort to all                         -> failed

Nothing is adopted before everybody who is still there is known to hold the same: two members that adopt have
equal bits, whoever lies or dies. A member that fails knows that it did. It cannot know that the others did: its
own replica must take the state of a member that adopted, if there is one, before it goes on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from swarmd.protocols.averaging import (
    LEADER,
    Abort,
    Begin,
    Commit,
    Complaint,
    Drop,
    Have,
    Message,
    Orphan,
    Outcome,
    Ready,
    Redo,
    Result,
    RoundPlan,
    Seen,
)
from swarmd.protocols.errors import ProtocolViolation
from swarmd.scheduler.averaging_actions import (
    Action,
    Adopt,
    Expect,
    Fail,
    Patience,
    SendPart,
    SendResult,
    Sum,
    Tell,
)

WAITING, AVERAGING, ORPHANED, CONFIRMING = "waiting", "averaging", "orphaned", "confirming"
ADOPTED, FAILED = "adopted", "failed"


@dataclass(slots=True)
class _Part:
    """A slice, as this member knows it."""

    owner: int
    since: float = 0.0
    attempt: int = 0
    came: set[int] = field(default_factory=set[int])
    summing: bool = False
    held: Outcome | None = None


class Member:
    """Says what to send, to sum and to adopt; whoever drives it carries the actions out in their order."""

    def __init__(self, plan: RoundPlan, me: int, patience: Patience, now: float) -> None:
        self.state = WAITING
        self._plan, self._name, self._me, self._patience = plan, plan.name(), me, patience
        self._begun = now
        self._parts = [_Part(part.owner) for part in plan.slices()]
        self._members: set[int] = set()
        self._gone: set[int] = set()
        self._orphans: set[int] = set()
        self._seen: dict[int, Commit] = {}
        self._results: dict[tuple[int, int], Result] = {}
        self._commit: Commit | None = None
        self._since = now
        self._out: list[Action] = []

    @property
    def over(self) -> bool:
        """Whether the round has ended for us."""
        return self.state in (ADOPTED, FAILED)

    def start(self) -> list[Action]:
        """To be called once, when there is room for what will come."""
        self._tell(LEADER, Ready(self._name))
        return self._take()

    def heard(self, sender: int, message: Message, now: float) -> list[Action]:
        """Another's message. Raises ProtocolViolation for what no honest member sends."""
        if self.over:
            return []
        match message:
            case Seen():
                self._saw(sender, message.commit, now)
            case Orphan():
                self._orphans.add(sender)
                self._look_orphaned()
            case Result():
                self._announced(sender, message)
            case Abort() if sender == LEADER:
                self._fail(message.reason)
            case Abort():
                self._left(sender, message)
            case Begin() | Redo() | Drop() | Commit() if sender == LEADER:
                self._ordered(message, now)
            case _:
                raise ProtocolViolation(f"{type(message).__name__} is not for this member to say")
        return self._take()

    def part_came(self, number: int, attempt: int, sender: int) -> list[Action]:
        """A member's whole part of a slice that we sum is here."""
        part = self._parts[number]
        if self.state == AVERAGING and part.owner == self._me and attempt == part.attempt:
            part.came.add(sender)
            self._sum_if_all(number)
        return self._take()

    def summed(self, number: int, attempt: int, contributors: tuple[int, ...], digest: bytes) -> list[Action]:
        """A ``Sum`` is done, over those of its contributors whose values were finite."""
        part = self._parts[number]
        if self.state != AVERAGING or attempt != part.attempt:
            return []
        if not contributors:
            self._tell(LEADER, Complaint(self._name, number, attempt))
            return self._take()
        for place in sorted(self._members - self._gone - {self._me}):
            self._tell(place, Result(self._name, number, attempt, contributors))
            self._out.append(SendResult(number, attempt, place))
        self._hold(number, contributors, digest)
        return self._take()

    def result_came(self, number: int, attempt: int, digest: bytes | None) -> list[Action]:
        """A whole result is here, with this hash; None if its values cannot be."""
        part = self._parts[number]
        if self.state != AVERAGING or attempt != part.attempt or part.held is not None:
            return []
        said = self._results.get((number, part.owner))
        if digest is None or said is None or said.attempt != attempt:
            self._tell(LEADER, Complaint(self._name, number, attempt))
        else:
            self._hold(number, said.contributors, digest)
        return self._take()

    def lost(self, member: int, now: float) -> list[Action]:
        """Our connection to a member broke."""
        if self.over or member in self._gone:
            return []
        self._gone.add(member)
        if member == LEADER and self._commit is None:
            self._orphan(now)
        else:
            self._without(member)
        return self._take()

    def tick(self, now: float) -> list[Action]:
        """Time has passed."""
        if self.state == AVERAGING:
            for number, part in enumerate(self._parts):
                if part.owner == self._me and now >= part.since + self._patience.gather:
                    self._sum(number)
        if self._commit is not None and not self.over and now >= self._since + self._patience.confirm:
            self._adopt(self._commit)
        if self.state == ORPHANED and now >= self._since + self._patience.confirm:
            self._fail("the leader was lost")
        if not self.over and now >= self._begun + self._patience.whole:
            self._fail("the round took too long")
        return self._take()

    def wake_at(self) -> float:
        """When ``tick`` is due next."""
        end = self._begun + self._patience.whole
        if self.state in (CONFIRMING, ORPHANED):
            return min(end, self._since + self._patience.confirm)
        waits = [
            part.since + self._patience.gather for part in self._parts if part.owner == self._me and not part.summing
        ]
        return min([end, *waits]) if self.state == AVERAGING else end

    def _ordered(self, message: Begin | Redo | Drop | Commit, now: float) -> None:
        match message:
            case Begin():
                self._begin(message, now)
            case Redo():
                self._redo(message, now)
            case Drop():
                self._dropped(message.member)
            case _:
                self._committed(message, now)

    def _begin(self, message: Begin, now: float) -> None:
        members = set(message.members)
        known = members | set(message.owners) <= set(range(len(self._plan.seats)))
        if self.state != WAITING or self._me not in members or not known or len(message.owners) != len(self._parts):
            raise ProtocolViolation("a round that begins twice, or another one")
        self.state, self._members = AVERAGING, members
        for number, owner in enumerate(message.owners):
            self._assign(number, 0, owner, now)

    def _redo(self, message: Redo, now: float) -> None:
        if not (0 <= message.slice < len(self._parts) and message.owner in self._members):
            raise ProtocolViolation("no such slice or member")
        if self.state == AVERAGING:
            if message.attempt != self._parts[message.slice].attempt + 1:
                raise ProtocolViolation("attempts follow one another")
            self._assign(message.slice, message.attempt, message.owner, now)

    def _assign(self, number: int, attempt: int, owner: int, now: float) -> None:
        self._parts[number] = _Part(owner, now, attempt)
        self._out.append(Expect(number, attempt, owner))
        if owner == self._me:
            self._sum_if_all(number)
        elif owner in self._gone:
            self._tell(LEADER, Complaint(self._name, number, attempt))
        elif self._plan.seats[self._me].weight:
            self._out.append(SendPart(number, attempt, owner))

    def _dropped(self, member: int) -> None:
        if member == self._me:
            self._fail("the leader left us out of the round")
        else:
            self._members.discard(member)
            self._sum_what_is_whole()
            self._adopt_if_all()

    def _announced(self, sender: int, message: Result) -> None:
        if not 0 <= message.slice < len(self._parts):
            raise ProtocolViolation("no such slice")
        places = message.contributors
        weights = [self._plan.seats[place].weight for place in places if 0 <= place < len(self._plan.seats)]
        if not weights or 0 in weights or len(weights) != len(places) or list(places) != sorted(set(places)):
            raise ProtocolViolation("an average over values of nobody, or of somebody twice")
        self._results[message.slice, sender] = message

    def _hold(self, number: int, contributors: tuple[int, ...], digest: bytes) -> None:
        part = self._parts[number]
        part.held = Outcome(part.owner, part.attempt, contributors, digest)
        self._tell(LEADER, Have(self._name, number, part.attempt, contributors, digest))

    def _expected(self) -> set[int]:
        here = self._members - self._gone - {self._me}
        return {place for place in here if self._plan.seats[place].weight}

    def _sum_if_all(self, number: int) -> None:
        if self._expected() <= self._parts[number].came:
            self._sum(number)

    def _sum_what_is_whole(self) -> None:
        for number, part in enumerate(self._parts):
            if self.state == AVERAGING and part.owner == self._me:
                self._sum_if_all(number)

    def _sum(self, number: int) -> None:
        part = self._parts[number]
        if not part.summing:
            part.summing = True
            ours = {self._me} if self._plan.seats[self._me].weight else set[int]()
            self._out.append(Sum(number, part.attempt, tuple(sorted(part.came | ours))))

    def _without(self, member: int) -> None:
        for number, part in enumerate(self._parts):
            if self.state == AVERAGING and part.owner == member and part.held is None:
                self._tell(LEADER, Complaint(self._name, number, part.attempt))
        self._sum_what_is_whole()
        self._look_orphaned()
        self._adopt_if_all()

    def _left(self, sender: int, message: Abort) -> None:
        """Whoever has no leader any more must not adopt what another has given up."""
        self._gone.add(sender)
        if LEADER in self._gone:
            self._fail(message.reason)
        else:
            self._without(sender)

    def _orphan(self, now: float) -> None:
        if self.state == WAITING:
            self._fail("the leader was lost")
            return
        self.state, self._since = ORPHANED, now
        if self._seen:
            self._committed(self._seen[min(self._seen)], now)
            return
        self._tell_others(Orphan(self._name))
        self._look_orphaned()

    def _look_orphaned(self) -> None:
        if self.state == ORPHANED and self._members <= self._orphans | self._gone | {self._me}:
            self._fail("the leader was lost")

    def _saw(self, sender: int, commit: Commit, now: float) -> None:
        self._seen[sender] = commit
        if self.state == ORPHANED:
            self._committed(commit, now)
        elif self._commit is not None and commit != self._commit:
            self._fail("two members were told different results")
        else:
            self._adopt_if_all()

    def _committed(self, commit: Commit, now: float) -> None:
        if self._commit is not None:
            if commit != self._commit:
                self._fail("the leader committed two different results")
            return
        if self._me not in commit.members:
            self._fail("the leader left us out of the round")
        elif [part.held for part in self._parts] != list(commit.outcomes):
            self._fail("the leader committed what we do not hold")
        elif any(seen != commit for seen in self._seen.values()):
            self._fail("two members were told different results")
        else:
            self.state, self._since, self._commit = CONFIRMING, now, commit
            self._tell_others(Seen(self._name, commit))
            self._adopt_if_all()

    def _adopt_if_all(self) -> None:
        if self._commit is not None and not self.over:
            others = set(self._commit.members) - {self._me, *self._gone}
            if others <= self._seen.keys():
                self._adopt(self._commit)

    def _adopt(self, commit: Commit) -> None:
        self.state = ADOPTED
        self._out.append(Adopt(commit))

    def _fail(self, reason: str) -> None:
        self.state = FAILED
        self._tell_others(Abort(self._name, reason))
        self._out.append(Fail(reason))

    def _tell_others(self, message: Message) -> None:
        for place in range(len(self._plan.seats)):
            if place not in self._gone and place != self._me:
                self._tell(place, message)

    def _tell(self, place: int, message: Message) -> None:
        self._out.append(Tell(place, message))

    def _take(self) -> list[Action]:
        out, self._out = self._out, []
        return out
