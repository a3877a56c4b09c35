"""Stake, unstake, maturity, release and burn of one owner that may fork, seen by every replica."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

Path = tuple[str, ...]  # an entry is its whole chain of ops: two paths of one length are a fork
GRANT, STAKE, PART = 8, 4, 2


@dataclass(frozen=True, slots=True, order=True)
class Keeper:
    """One validator, which is also a replica."""

    votes: tuple[Path, ...] = ()
    head: Path = ()
    proof: bool = False
    member_proof: bool = False
    mature: tuple[Path, ...] = ()
    noted_burn: int = -1


@dataclass(frozen=True, slots=True)
class StakeState:
    signed: tuple[Path, ...]
    keepers: tuple[Keeper, ...]


def at_risk(path: Path) -> int:
    """staked - released: bonded and unbonding together."""
    return STAKE * path.count("stake") - PART * path.count("release")


@dataclass(frozen=True, slots=True)
class Stakes:
    """One owner that may fork, `honest` validators of which `need` make a quorum with the Byzantine ones."""

    honest: int = 3
    need: int = 2
    length: int = 3
    unstakes: int = 1
    without: str = ""

    def start(self) -> StakeState:
        return StakeState((), (Keeper(),) * self.honest)

    def steps(self, s: StakeState) -> Iterator[tuple[str, StakeState]]:
        for path in self._signable(s):
            yield f"owner signs {'/'.join(path)}", replace(s, signed=tuple(sorted((*s.signed, path))))
        certified = self.certified(s)
        forked = len({len(p) for p in s.signed}) < len(s.signed)
        matured = {p for k in s.keepers for p in k.mature if sum(p in o.mature for o in s.keepers) >= self.need}
        for i, k in enumerate(s.keepers):
            for label, new in self._local(s, k, certified, forked, matured):
                keepers = tuple(sorted((*s.keepers[:i], new, *s.keepers[i + 1 :])))
                yield f"validator {i} {label}", replace(s, keepers=keepers)

    def _signable(self, s: StakeState) -> Iterator[Path]:
        for base in {(), *self.certified(s)}:
            if len(base) == self.length:
                continue
            options = ["pay"] if base and base.count("pay") < GRANT - STAKE else []
            options += ["stake"] if "stake" not in base else []
            options += ["unstake"] if base.count("unstake") < self.unstakes * base.count("stake") else []
            options += ["release"] if base.count("release") < base.count("unstake") else []
            yield from ((*base, op) for op in options if (*base, op) not in s.signed)

    def _local(
        self, s: StakeState, k: Keeper, certified: list[Path], forked: bool, matured: set[Path]
    ) -> Iterator[tuple[str, Keeper]]:
        for p in s.signed:
            ready = p[-1] != "release" or unbonding_item(p) in matured
            free = all(len(v) != len(p) for v in k.votes)
            if p[:-1] == k.head and free and ready and not k.proof:
                yield f"votes {'/'.join(p)}", replace(k, votes=tuple(sorted((*k.votes, p))))
        for p in certified:
            refused = self.without == "certificates outlive proofs" and k.member_proof
            if len(p) > len(k.head) and not (refused and sum(p in o.votes for o in s.keepers) <= self.need):
                yield f"learns the certificate of {'/'.join(p)}", replace(k, head=p)
        for p in [k.head[: n + 1] for n, op in enumerate(k.head) if op == "unstake"]:
            if p not in k.mature and not k.proof:
                yield f"sees {'/'.join(p)} mature", replace(k, mature=tuple(sorted((*k.mature, p))))
        if forked and not k.proof:
            yield "learns the fork proof", replace(k, proof=True, noted_burn=at_risk(k.head))
        if forked and not k.member_proof and self.without == "certificates outlive proofs":
            yield "learns the double vote proof", replace(k, member_proof=True)

    def certified(self, s: StakeState) -> list[Path]:
        return [p for p in s.signed if sum(p in k.votes for k in s.keepers) >= self.need]

    def wrong(self, s: StakeState, final: bool) -> str:
        heads = self.certified(s)
        if len({len(p) for p in heads}) < len(heads):
            return "two certified entries at one seq"
        for p in heads:
            locked, sent = at_risk(p), p.count("pay")
            if (p[:-1] and p[:-1] not in heads) or locked < 0 or GRANT - locked - sent < 0:
                return "a certified head does not follow from the one before, or is negative"
        if not final:
            return ""
        burns = {self._burn(k) for k in s.keepers}
        if len({k.head for k in s.keepers}) > 1 or len(burns) > 1:
            return f"replicas differ when all is delivered: burned {sorted(burns)}"
        honest = not any(k.proof for k in s.keepers)
        return "honest owner wedged" if honest and len(s.keepers[0].head) < self.length else ""

    def _burn(self, k: Keeper) -> int:
        if self.without == "burn follows the head":
            return max(k.noted_burn, 0)
        return at_risk(k.head) if k.proof else 0


def unbonding_item(path: Path) -> Path:
    """The unstake that the release at the end of `path` takes: the oldest one left."""
    places = [n for n, op in enumerate(path) if op == "unstake"]
    return path[: places[path.count("release") - 1] + 1]
