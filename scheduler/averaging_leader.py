"""The leader of an averaging round: it decides who takes part, who sums, and when all is committed.

    state       event                                       what follows
    forming     every member is ready, or the wait is over  Begin to those that are          -> averaging
    averaging   a member holds a result                     its hash is kept
    averaging   all hold one slice, with different hashes   Redo by the leader; if the leader summed it,
                                                            those that differ from the leader are dropped
    averaging   an owner is lost, or one complains of it    Redo by a member that has not tried
    averaging   a slice's time is over                      its owner is dropped if it has no result itself,
                                                            else the members that have none are dropped
    averaging   all hold the same of every slice            Commit to all                    -> committed
    any         the leader is late itself, nobody with      Abort to all                     -> failed
                values came, or the round's time is over

Liveness is the leader's judgement: who is lost to the leader, or late, is dropped from the round. A member may
complain once of each slice; whoever complains again is dropped itself. So every round ends: each Redo takes
an owner away from a slice, and each Drop a member from the round.
"""

from __future__ import annotations

from swarmd.protocols.averaging import (
    LEADER,
    Abort,
    Begin,
    Commit,
    Complaint,
    Drop,
    Have,
    Message,
    Outcome,
    Ready,
    Redo,
    RoundPlan,
)
from swarmd.protocols.errors import ProtocolViolation
from swarmd.scheduler.averaging_actions import Patience, Tell
from swarmd.scheduler.averaging_slice import SliceState

FORMING, AVERAGING, COMMITTED, FAILED = "forming", "averaging", "committed", "failed"


class Leader:
    """Decides; the leader's own values go through a ``Member`` like everybody's."""

    def __init__(self, plan: RoundPlan, patience: Patience, now: float) -> None:
        self.state = FORMING
        self._plan, self._name, self._patience = plan, plan.name(), patience
        self._begun = now
        self._live = set(range(len(plan.seats)))
        self._ready: set[int] = set()
        self._slices = [SliceState(part.owner) for part in plan.slices()]
        self._suspects: set[int] = set()
        self._out: list[Tell] = []

    def heard(self, sender: int, message: Message, now: float) -> list[Tell]:
        """A member's message. Raises ProtocolViolation for what no honest member sends to a leader."""
        match message:
            case Ready():
                self._is_ready(sender, now)
            case Have() if self._current(sender, message):
                self._slices[message.slice].held[sender] = (message.contributors, message.digest)
                self._look(message.slice, now)
            case Complaint() if self._current(sender, message):
                self._complained(sender, message, now)
            case Have() | Complaint():
                pass  # of an attempt that is over
            case _:
                raise ProtocolViolation(f"{type(message).__name__} is nothing to say to a leader")
        return self._take()

    def lost(self, member: int, now: float) -> list[Tell]:
        """The leader's connection to a member broke."""
        if self.state == FORMING:
            self._live.discard(member)
            self._ready.discard(member)
            self._begin_if_all(now)
        elif self.state == AVERAGING:
            self._drop(member, now)
        return self._take()

    def tick(self, now: float) -> list[Tell]:
        """Time has passed."""
        if self.state == FORMING and now >= self._begun + self._patience.ready:
            self._begin(now)
        if self.state == AVERAGING:
            for number in range(len(self._slices)):
                self._late(number, now)
        if self.state in (FORMING, AVERAGING) and now >= self._begun + self._patience.whole:
            self._fail("the round took too long")
        return self._take()

    def wake_at(self) -> float:
        """When ``tick`` is due next."""
        end = self._begun + self._patience.whole
        if self.state == FORMING:
            return min(end, self._begun + self._patience.ready)
        open_ones = [part.since + self._patience.deliver for part in self._slices if not part.agreed(self._live)]
        return min([end, *open_ones])

    def _is_ready(self, sender: int, now: float) -> None:
        if self.state == FORMING and sender in self._live:
            self._ready.add(sender)
            self._begin_if_all(now)
        elif sender not in self._live:
            self._tell(sender, Drop(self._name, sender))

    def _begin_if_all(self, now: float) -> None:
        if self._ready == self._live:
            self._begin(now)

    def _begin(self, now: float) -> None:
        absent = self._live - self._ready
        self._live = set(self._ready)
        if not any(self._plan.seats[place].weight for place in self._live):
            self._fail("nobody with values came")
            return
        for part in self._slices:
            part.begin(now, part.owner if part.owner in self._live else self._least_busy(self._live))
        self.state = AVERAGING
        owners = tuple(part.owner for part in self._slices)
        self._tell_all(Begin(self._name, tuple(sorted(self._live)), owners))
        for place in sorted(absent):
            self._tell(place, Drop(self._name, place))

    def _current(self, sender: int, message: Have | Complaint) -> bool:
        if not 0 <= message.slice < len(self._slices):
            raise ProtocolViolation("no such slice")
        part = self._slices[message.slice]
        return self.state == AVERAGING and sender in self._live and message.attempt == part.attempt

    def _complained(self, sender: int, message: Complaint, now: float) -> None:
        part = self._slices[message.slice]
        if sender in part.complained or part.owner == LEADER:
            self._drop(sender, now)
            return
        part.complained.add(sender)
        self._redo(message.slice, now)

    def _look(self, number: int, now: float) -> None:
        part = self._slices[number]
        if not part.all_hold(self._live):
            return
        if part.agreed(self._live):
            self._commit_if_all()
        elif part.owner == LEADER:
            for place in sorted(part.differing(self._live, LEADER)):
                self._drop(place, now)
        else:
            self._suspects.add(part.owner)
            self._redo(number, now, LEADER)

    def _late(self, number: int, now: float) -> None:
        part = self._slices[number]
        if now < part.since + self._patience.deliver or part.all_hold(self._live):
            return
        blamed = self._live - part.held.keys() if part.owner in part.held else {part.owner}
        for place in sorted(blamed):
            self._drop(place, now)

    def _drop(self, member: int, now: float) -> None:
        if member not in self._live or self.state != AVERAGING:
            return
        if member == LEADER:
            self._fail("the leader did not finish its own part")
            return
        self._tell_all(Drop(self._name, member))
        self._live.discard(member)
        for number, part in enumerate(self._slices):
            if part.owner == member and not part.agreed(self._live):
                self._redo(number, now)
        for number in range(len(self._slices)):
            self._look(number, now)

    def _redo(self, number: int, now: float, owner: int | None = None) -> None:
        part = self._slices[number]
        # There is always a candidate: the leader, once it sums a slice, keeps it.
        part.begin_again(now, self._least_busy(self._live - part.tried) if owner is None else owner)
        self._tell_all(Redo(self._name, number, part.attempt, part.owner))

    def _least_busy(self, candidates: set[int]) -> int:
        busy = [part.owner for part in self._slices]
        return min(candidates, key=lambda place: (busy.count(place), place))

    def _commit_if_all(self) -> None:
        if self.state != AVERAGING or not all(part.agreed(self._live) for part in self._slices):
            return
        outcomes = tuple(
            Outcome(part.owner, part.attempt, *next(iter(part.of(self._live).values()))) for part in self._slices
        )
        self.state = COMMITTED
        members = tuple(sorted(self._live))
        self._tell_all(Commit(self._name, members, outcomes, tuple(sorted(self._suspects))))

    def _fail(self, reason: str) -> None:
        self.state = FAILED
        self._tell_all(Abort(self._name, reason))

    def _tell_all(self, message: Message) -> None:
        for place in sorted(self._live):
            self._tell(place, message)

    def _tell(self, place: int, message: Message) -> None:
        self._out.append(Tell(place, message))

    def _take(self) -> list[Tell]:
        out, self._out = self._out, []
        return out
