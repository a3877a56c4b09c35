"""What a hostile peer says about the ledger and about pay: every question and every topic, true, bent and absurd."""

from __future__ import annotations

import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace

import trio

from swarmd.identity import Identity
from swarmd.ledger.topics import topic
from swarmd.net.gossip_messages import GOSSIP_PROTOCOL, Gossiped, TakesPart, framed
from swarmd.net.transport import MAX_GOSSIP_BYTES, Transport
from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import PeerLost, Refused
from swarmd.protocols.ids import EntryId, NetworkId, PeerId, RunId
from swarmd.protocols.ledger.account import AccountState, Total
from swarmd.protocols.ledger.entry import FIRST_PREV, Claim, Entry, LaneSettle, Pay, Release, SignedEntry, sign_entry
from swarmd.protocols.ledger.genesis import Genesis, Member
from swarmd.protocols.ledger.handover import CommitteeChange, sign_change
from swarmd.protocols.ledger.heads import make_head, state_hash
from swarmd.protocols.ledger.messages import (
    LEDGER_PROTOCOL,
    REQUESTS,
    TOPICS,
    AskClaimVote,
    AskCloseVote,
    AskEntryVote,
    AskHandover,
    AskMaturityVote,
    Evidence,
    GetBuckets,
    GetHeads,
    GetPending,
    GetProofs,
    GetReport,
    GetSuccessions,
    Hello,
)
from swarmd.protocols.ledger.proofs import DoubleVote, Fork, encode_proof
from swarmd.protocols.ledger.votes import (
    ClaimVote,
    CloseCertificate,
    CloseVote,
    EntryVote,
    MaturityVote,
    SignedVote,
    Vote,
    certificate_of,
    sign_vote,
)
from swarmd.protocols.ledger.vouchers import LaneRelease, Voucher, sign_release, sign_voucher
from swarmd.protocols.pay_messages import PAY_PROTOCOL, GetVoucher, GiveRelease
from swarmd.protocols.registry import Registry
from tests.e2e.hostile_messages import bend

RUN = RunId("ab" * 32)
MILLION = b"\xdd" + (1_000_000).to_bytes(4, "big") + b"\x01" * 1_000_000
DEEP = b"\x91" * 100_000 + b"\xc0"
_LEDGER, _PAY = Registry(*REQUESTS), Registry(GetVoucher, GiveRelease)


@dataclass(frozen=True, slots=True)
class Ledger:
    """What a stranger knows of a network: its genesis, and certified heads that it was given."""

    genesis: Genesis
    heads: tuple[bytes, ...]

    @property
    def network(self) -> NetworkId:
        return self.genesis.id

    @property
    def accounts(self) -> tuple[PeerId, ...]:
        return tuple(grant.account for grant in self.genesis.grants)


class LedgerPhrases:
    """Messages of one attacker, seeded. None is worth a vote, and no honest node is worse off for any."""

    def __init__(self, attacker: Identity, ledger: Ledger, chance: random.Random) -> None:
        self._me, self._ledger, self._chance = attacker, ledger, chance
        self._topics: dict[str, Callable[[], bytes]] = {"entry": self._entry, "head": self._head, "proof": self._proof}
        assert set(self._topics) == set(TOPICS)

    def request(self, protocol: str) -> bytes:
        """A framed question."""
        if self._chance.random() < 0.08:
            payload = self._chance.choice((DEEP, MILLION, self._chance.randbytes(300), b""))
        else:
            payload = self._bent(self._question() if protocol == LEDGER_PROTOCOL else self._pay())
        return len(payload).to_bytes(4, "big") + payload

    def gossip(self) -> bytes:
        """A frame of gossip."""
        name = self._chance.choice(TOPICS)
        kind = self._chance.randrange(6)
        if kind == 0:
            message = self._chance.choice((DEEP, b"", b"\x01" * MAX_GOSSIP_BYTES, MILLION[:5] + MILLION[-1000:]))
        else:
            message = self._bent(self._topics[name]())
        network = NetworkId("5a" * 32) if kind == 1 else self._ledger.network
        return framed(Gossiped(topic(network, name), message[:MAX_GOSSIP_BYTES]))

    def _bent(self, raw: bytes) -> bytes:
        """As it is, cut, with a bit flipped, with more behind it, or with one part replaced."""
        chance, kind = self._chance, self._chance.randrange(8)
        if kind == 0:
            return raw[: chance.randrange(len(raw))]
        if kind == 1:
            place = chance.randrange(len(raw))
            return raw[:place] + bytes([raw[place] ^ 1 << chance.randrange(8)]) + raw[place + 1 :]
        if kind == 2:
            return raw + b"\xc0"
        return raw if kind < 6 else encode(bend(decode(raw, limit=1 << 21), chance))

    def _question(self) -> bytes:
        """One of every kind, in turn by chance."""
        chance, accounts = self._chance, self._ledger.accounts
        account, number = chance.choice(accounts), chance.choice((0, 1, 2, 1 << 39))
        asks: tuple[Callable[[], object], ...] = (
            self._ask_entry, self._ask_entry, self._ask_claim, self._ask_close, self._ask_handover,
            lambda: AskMaturityVote(account, number),
            lambda: GetReport(chance.randbytes(32), chance.choice((-1, 0, 1 << 62))),
            lambda: Hello(chance.choice((-1, 0, 99)), number, chance.randbytes(32), bytes(32)),
            lambda: GetBuckets(chance.randrange(256), chance.choice(("", account, "\u2603" * 60))),
            lambda: GetHeads((account,) * 64),
            lambda: GetPending(chance.choice((account, PeerId("nobody")))),
            lambda: GetProofs(chance.choice(("", account, "x" * 10_000))),
            lambda: GetSuccessions(chance.choice((-1, 0, 1 << 62))),
        )  # fmt: skip
        return _LEDGER.encode(chance.choice(asks)())

    def _pay(self) -> bytes:
        chance = self._chance
        release = LaneRelease(chance.choice(self._ledger.accounts), 1, self._me.peer, chance.choice((0, 1000)))
        given = GiveRelease(sign_release(release, self._ledger.network, self._me.sign))
        return _PAY.encode(chance.choice((given, GetVoucher(chance.choice((1, 2, (1 << 63) - 1))))))

    def _ask_entry(self) -> AskEntryVote:
        signed, state = self._strangers_entry()
        vote = self._sign(ClaimVote(0, self._ledger.accounts[0], 1, 1000))
        closing = self._sign(CloseVote(0, self._me.peer, 1, self._chance.randrange(1000)))
        maturity = self._sign(MaturityVote(0, self._me.peer, 1))
        many = self._chance.choice((1, 64))
        evidence = Evidence(
            (*self._ledger.heads, self._head())[-many:],
            (certificate_of((vote,)),) * many,
            (CloseCertificate((closing,)),) * many,
            (certificate_of((maturity,)),),
        )
        return AskEntryVote(signed.raw, state.to_bytes(), evidence)

    def _ask_claim(self) -> AskClaimVote:
        return AskClaimVote(self._voucher(), self._chance.choice((b"", *self._ledger.heads, self._head())))

    def _ask_close(self) -> AskCloseVote:
        payer = self._chance.choice((*self._ledger.accounts, self._me.peer))
        release = sign_release(LaneRelease(payer, 1, self._me.peer, 500), self._ledger.network, self._me.sign)
        return AskCloseVote(payer, 1, self._chance.choice((b"", release)), self._voucher())

    def _ask_handover(self) -> AskHandover:
        change = CommitteeChange(1, self._chance.randbytes(32), (Member(self._me.peer, 1),))
        return AskHandover(sign_change(change, self._ledger.network, self._me.peer, self._me.sign))

    def _voucher(self) -> bytes:
        voucher = Voucher(
            payer=self._me.peer, lane=1, run=RUN, provider=self._ledger.accounts[0], number=1, total=500,
            work_root=bytes(32),
        )  # fmt: skip
        return sign_voucher(voucher, self._ledger.network, self._me.sign)

    def _entry(self) -> bytes:
        return self._strangers_entry()[0].raw

    def _head(self) -> bytes:
        """A real one; or the attacker's own, certified by itself, by members that never did, or by nobody known."""
        signed, state = self._strangers_entry()
        vote = EntryVote(self._chance.choice((0, 0, 7)), self._me.peer, signed.entry.seq, signed.id)
        mine = self._sign(vote)
        forged = tuple(SignedVote(vote, member.peer, mine.signature) for member in self._ledger.genesis.committee)
        made = self._chance.choice(((mine,), forged, (mine, *forged)))
        return self._chance.choice((*self._ledger.heads, make_head(signed, state, certificate_of(made)).raw))

    def _proof(self) -> bytes:
        """Against the attacker's own key; or against others, with signatures that are not theirs."""
        one, other = self._strangers_entry()[0], self._strangers_entry()[0]
        a, b = (self._sign(EntryVote(0, self._me.peer, 1, EntryId(f"{n:064x}"))) for n in (1, 2))
        victim = self._ledger.genesis.committee[0].peer
        return encode_proof(
            self._chance.choice(
                (
                    Fork(one.raw, other.raw),
                    DoubleVote(a, b),
                    DoubleVote(replace(a, member=victim), replace(b, member=victim)),
                )
            )
        )

    def _strangers_entry(self) -> tuple[SignedEntry, AccountState]:
        """Faultlessly signed by a key that has nothing: claims, spends and settles what is not there."""
        chance, payer = self._chance, self._chance.choice(self._ledger.accounts)
        amount = chance.randrange(1, 1 << 40)
        ops = chance.choice(
            ((Claim(payer, amount),), (Pay(payer, amount),) * 40, (LaneSettle(1, 0), Release(1), Claim(payer, 1)))
        )
        state = AccountState(granted=0, received=(Total(payer, amount),))
        seq = chance.choice((1, 1, 2, 1 << 39))
        entry = Entry(
            account=self._me.peer, seq=seq, prev=FIRST_PREV if seq == 1 else EntryId("7" * 64), time=0, ops=ops,
            state_hash=state_hash(state),
        )  # fmt: skip
        network = chance.choice((self._ledger.network,) * 5 + (NetworkId("5a" * 32),))
        return sign_entry(entry, network, self._me.sign), state

    def _sign(self, vote: Vote) -> SignedVote:
        return sign_vote(vote, self._ledger.network, self._me.peer, self._me.sign)


class LedgerAttacker:
    """One identity that asks and gossips; ``sent`` counts. Thrown out, it dials again a few times."""

    def __init__(self, transport: Transport, phrases: LedgerPhrases, victim: PeerId, address: str) -> None:
        self._transport, self._phrases, self._victim, self._address = transport, phrases, victim, address
        self.sent = self.dials = 0

    async def dial(self) -> None:
        """Be connected, if the victim lets us."""
        if self._victim not in self._transport.connected() and self.dials < 4:
            self.dials += 1
            with suppress(PeerLost):
                await self._transport.dial(self._victim, (self._address,))

    async def ask(self, patience: float = 0.05) -> None:
        """One question."""
        await self.dial()
        protocol = PAY_PROTOCOL if self.sent % 5 == 0 else LEDGER_PROTOCOL
        self.sent += 1
        with suppress(PeerLost, Refused), trio.move_on_after(5):
            stream = await self._transport.open_stream(self._victim, protocol)
            await stream.send_all(self._phrases.request(protocol))
            with trio.move_on_after(patience):
                await stream.receive_exactly(1 << 16)
            await stream.reset()

    async def gossip(self, count: int) -> None:
        """So many frames on one stream, as long as it lives."""
        await self.dial()
        with suppress(PeerLost, Refused), trio.move_on_after(10):
            stream = await self._transport.open_stream(self._victim, GOSSIP_PROTOCOL)
            await stream.send_all(framed(TakesPart((), False)))
            for _ in range(count):
                self.sent += 1
                await stream.send_all(self._phrases.gossip())
