"""Nodes find each other from one address, keep in touch, and believe nobody without a signature."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from swarmd.net.advert_exchange import BURST
from swarmd.net.discovery import Discovery, DiscoverySettings
from swarmd.net.links import LinkSettings
from swarmd.net.memory import MemoryNetwork, MemoryTransport
from swarmd.net.memory_records import MemoryRecords
from swarmd.net.own_advert import OwnAdvert
from swarmd.net.rpc import call, serve_rpc
from swarmd.net.transport import Stream, StreamLimits
from swarmd.protocols.addresses import Contact
from swarmd.protocols.advert import Advert, advert_key, record_check
from swarmd.protocols.advert_book import AdvertBook
from swarmd.protocols.advert_messages import (
    ADVERT_PROTOCOL,
    MAX_BATCH,
    Adverts,
    GetAdvert,
    KnownAdverts,
    OwnAdvertIs,
)
from swarmd.protocols.errors import PeerLost, Refused
from swarmd.protocols.ids import PeerId
from tests.protocols.keys import NETWORK, NOW, OTHER_NETWORK, Who, advert, signed, who

ANNA, BERT, CARL, EVE = who(1), who(2), who(3), who(66)


def clock() -> float:
    return NOW + trio.current_time()


@dataclass(frozen=True)
class Node:
    """One daemon's discovery, with all it stands on."""

    who: Who
    transport: MemoryTransport
    records: MemoryRecords
    book: AdvertBook
    own: OwnAdvert
    discovery: Discovery
    says: dict[str, object]

    def knows(self) -> set[PeerId]:
        return {known.peer for known in self.book.live(clock())}


class Swarm:
    """Nodes on one network in memory. ``start`` adds one that knows some others' addresses."""

    def __init__(self, network: MemoryNetwork, nursery: trio.Nursery) -> None:
        self.network, self.nursery = network, nursery
        self.nodes: list[Node] = []

    async def start(
        self,
        owner: Who,
        *first: Who,
        lifetime: int = 3600,
        max_peers: int = 1024,
        settings: DiscoverySettings | None = None,
    ) -> Node:
        transport, records = await self.stranger(owner)
        says: dict[str, object] = {"addresses": transport.addresses()}

        def describe() -> Advert:
            return advert(**says)

        own = OwnAdvert(NETWORK, owner.peer, owner.sign, describe, clock, lifetime)
        book = AdvertBook(NETWORK, owner.peer, max_peers)
        bootstrap = tuple(contact_of(each) for each in first)
        discovery = Discovery(
            transport,
            records,
            book,
            own,
            network=NETWORK,
            clock=clock,
            bootstrap=bootstrap,
            settings=settings,
        )
        await self.nursery.start(discovery.run)
        self.nodes.append(Node(owner, transport, records, book, own, discovery, says))
        return self.nodes[-1]

    async def stranger(self, owner: Who) -> tuple[MemoryTransport, MemoryRecords]:
        """A node that runs no discovery of its own."""
        return await self.nursery.start(self._keep, owner)

    async def _keep(self, owner: Who, task_status) -> None:
        async with self.network.node(owner.seed) as node:
            task_status.started(node)
            await trio.sleep_forever()


def contact_of(owner: Who) -> Contact:
    return Contact(owner.peer, (f"/memory/{owner.peer}",))


@asynccontextmanager
async def swarm() -> AsyncIterator[Swarm]:
    network = MemoryNetwork(record_check(NETWORK, clock), delay=0.005)
    async with trio.open_nursery() as nursery:
        yield Swarm(network, nursery)
        nursery.cancel_scope.cancel()


async def until(condition: Callable[[], bool], within: float = 600.0) -> float:
    """How long it took until the condition held."""
    started = trio.current_time()
    with trio.fail_after(within):
        while not condition():  # noqa: ASYNC110 - the clock is virtual, and jumps
            await trio.sleep(0.01)
    return trio.current_time() - started


def all_know_all(nodes: Iterable[Node]) -> Callable[[], bool]:
    everybody = {node.who.peer for node in nodes}
    return lambda: all(node.knows() == everybody - {node.who.peer} for node in nodes)


async def test_three_nodes_that_know_the_first_ones_address_list_each_other(autojump_clock):
    async with swarm() as s:
        for owner, first in ((ANNA, ()), (BERT, (ANNA,)), (CARL, (ANNA,))):
            await s.start(owner, *first)
        assert await until(all_know_all(s.nodes)) < 2.0
        assert await until(lambda: all(len(node.transport.connected()) == 2 for node in s.nodes)) < 3.0


async def test_a_whole_swarm_forms_from_one_address(autojump_clock):
    async with swarm() as s:
        await s.start(ANNA)
        for number in range(10, 21):
            await s.start(who(number), ANNA)
        assert await until(all_know_all(s.nodes)) < 10.0


async def test_a_chain_of_bootstrap_addresses_suffices(autojump_clock):
    async with swarm() as s:
        await s.start(ANNA)
        await s.start(BERT, ANNA)
        await s.start(CARL, BERT)
        assert await until(all_know_all(s.nodes)) < 5.0


async def test_two_nodes_that_nobody_can_dial_learn_of_each_other(autojump_clock):
    async with swarm() as s:
        await s.start(ANNA)
        for owner in (BERT, CARL):
            node = await s.start(owner, ANNA)
            node.says["addresses"] = ()
        assert await until(all_know_all(s.nodes)) < 35.0
        assert BERT.peer not in s.nodes[2].transport.connected()


async def test_the_bootstrap_node_may_come_late_and_come_back(autojump_clock):
    async with swarm() as s:
        bert = await s.start(BERT, ANNA)
        await trio.sleep(300)
        assert bert.knows() == set()
        assert bert.discovery.counters()["dials_failed"] < 15
        await s.start(ANNA)
        assert await until(all_know_all(s.nodes)) < 62.0
        s.network.cut(ANNA.peer)
        assert not bert.transport.connected()
        s.network.mend(ANNA.peer)
        assert await until(lambda: ANNA.peer in bert.transport.connected()) < 65.0


async def test_a_lost_neighbour_is_dialled_again_by_its_advert(autojump_clock):
    async with swarm() as s:
        for owner, first in ((ANNA, ()), (BERT, (ANNA,)), (CARL, (ANNA,))):
            await s.start(owner, *first)
        carl = s.nodes[2]
        await until(lambda: BERT.peer in carl.transport.connected())
        await carl.transport.disconnect(BERT.peer)
        assert BERT.peer not in carl.transport.connected()
        assert await until(lambda: BERT.peer in carl.transport.connected()) < 3.0


async def test_a_change_reaches_every_neighbour_at_once(autojump_clock):
    async with swarm() as s:
        anna, bert = await s.start(ANNA), await s.start(BERT, ANNA)
        await until(all_know_all(s.nodes))
        await trio.sleep(100)
        bert.says["price"] = 77
        bert.own.changed()

        def seen() -> bool:
            known = anna.book.get(BERT.peer)
            return known is not None and known.advert.price == 77

        assert await until(seen) < 1.0


@pytest.mark.slow
async def test_adverts_are_renewed_and_a_peer_that_is_gone_drops_out(autojump_clock):
    async with swarm() as s:
        anna = await s.start(ANNA, lifetime=600)
        await s.start(BERT, ANNA, lifetime=600)
        await until(all_know_all(s.nodes))
        await trio.sleep(1500)
        assert anna.knows() == {BERT.peer}
        s.network.cut(BERT.peer)
        assert anna.knows() == {BERT.peer}
        await trio.sleep(600)
        assert anna.knows() == set()


async def test_a_stranger_is_found_through_the_hash_table(autojump_clock):
    async with swarm() as s:
        anna = await s.start(ANNA)
        middle, _ = await s.stranger(EVE)
        transport, records = await s.stranger(BERT)
        await transport.dial(EVE.peer, middle.addresses())
        await records.put(advert_key(BERT.peer), signed(BERT, addresses=transport.addresses()))
        await records.provide(f"swarmd/{NETWORK}/cpu")
        anna.discovery.suggest(contact_of(EVE))
        assert await until(lambda: anna.knows() == {BERT.peer}) < 5.0
        assert await until(lambda: BERT.peer in anna.transport.connected()) < 5.0


async def test_a_stranger_without_an_advert_is_asked_for_it(autojump_clock):
    async with swarm() as s:
        anna = await s.start(ANNA)
        middle, _ = await s.stranger(EVE)
        bert, records = await s.stranger(BERT)

        async def own(peer: PeerId, request: GetAdvert) -> OwnAdvertIs:
            return OwnAdvertIs(signed(BERT))

        serve_rpc(bert, ADVERT_PROTOCOL, {GetAdvert: own})
        await bert.dial(EVE.peer, middle.addresses())
        await records.provide(f"swarmd/{NETWORK}/cpu")
        anna.discovery.suggest(contact_of(EVE))
        assert await until(lambda: anna.knows() == {BERT.peer}) < 5.0
        await trio.sleep(300)
        assert anna.discovery.counters()["searches"] > 3


async def test_our_advert_and_device_are_in_the_hash_table(autojump_clock):
    async with swarm() as s:
        await s.start(ANNA)
        transport, records = await s.stranger(BERT)
        await transport.dial(ANNA.peer, (f"/memory/{ANNA.peer}",))
        await trio.sleep(5)
        assert await records.get(advert_key(ANNA.peer)) == s.nodes[0].own.raw
        assert [peer for peer, _ in await records.providers(f"swarmd/{NETWORK}/cpu")] == [ANNA.peer]


@pytest.mark.slow
async def test_a_suggested_contact_that_never_answers_is_forgotten(autojump_clock):
    async with swarm() as s:
        anna = await s.start(ANNA)
        anna.discovery.suggest(contact_of(BERT))
        await trio.sleep(300)
        assert anna.discovery.counters()["dials_failed"] == 6


@pytest.mark.slow
async def test_only_so_many_suggestions_are_remembered(autojump_clock):
    async with swarm() as s:
        anna = await s.start(ANNA)
        for number in range(1000, 1300):
            anna.discovery.suggest(contact_of(who(number)))
        anna.discovery.suggest(contact_of(ANNA))
        anna.discovery.suggest(Contact(BERT.peer, ()))
        await trio.sleep(300)
        assert anna.discovery.counters()["dials_failed"] == 256 * 6


@pytest.mark.slow
async def test_a_settled_node_is_quiet(autojump_clock):
    async with swarm() as s:
        for owner, first in ((ANNA, ()), (BERT, (ANNA,)), (CARL, (ANNA,))):
            await s.start(owner, *first)
        await until(all_know_all(s.nodes))
        await trio.sleep(300)
        calls: list[str] = []
        for node in s.nodes:
            plain = node.transport.open_stream

            async def counted(peer: PeerId, protocol: str, plain=plain) -> Stream:
                calls.append(protocol)
                return await plain(peer, protocol)

            node.transport.open_stream = counted  # type: ignore[method-assign]
        await trio.sleep(300)
        assert len(calls) <= 3 * 300 / 30 + 3


async def ask_for_adverts(client: MemoryTransport, peer: PeerId, own: bytes) -> OwnAdvertIs:
    return await call(client, peer, ADVERT_PROTOCOL, GetAdvert(own), OwnAdvertIs)


async def test_forged_adverts_are_refused_counted_and_displace_nobody(autojump_clock):
    async with swarm() as s:
        anna = await s.start(ANNA, max_peers=2)
        await s.start(BERT, ANNA)
        await until(all_know_all(s.nodes))
        eve, _ = await s.stranger(EVE)
        await eve.dial(ANNA.peer, anna.transport.addresses())
        for bad in (signed(EVE, OTHER_NETWORK), signed(CARL), b"nonsense"):
            with pytest.raises(Refused, match="advert"):
                await ask_for_adverts(eve, ANNA.peer, bad)
        expired = signed(EVE, issued_at=NOW - 3600, expires_at=NOW)
        assert (await ask_for_adverts(eve, ANNA.peer, expired)).advert == anna.own.raw
        assert anna.knows() == {BERT.peer}
        counters = anna.discovery.counters()
        assert (counters["adverts_forged"], counters["adverts_malformed"]) == (2, 1)
        assert counters["adverts_expired"] == 1


async def test_a_peer_that_asks_too_often_is_refused(autojump_clock):
    async with swarm() as s:
        anna = await s.start(ANNA)
        eve, _ = await s.stranger(EVE)
        await eve.dial(ANNA.peer, anna.transport.addresses())
        for _ in range(BURST):
            await ask_for_adverts(eve, ANNA.peer, b"")
        with pytest.raises(Refused, match="too many questions"):
            await ask_for_adverts(eve, ANNA.peer, b"")
        assert anna.discovery.counters()["requests_over_rate"] == 1
        await trio.sleep(5)
        assert (await ask_for_adverts(eve, ANNA.peer, b"")).advert == anna.own.raw


async def test_a_liar_is_asked_no_more_for_a_while(autojump_clock):
    asked: list[float] = []

    async def own(peer: PeerId, request: GetAdvert) -> OwnAdvertIs:
        return OwnAdvertIs(signed(EVE))

    async def lie(peer: PeerId, request: KnownAdverts) -> Adverts:
        asked.append(trio.current_time())
        forged = [signed(who(number), OTHER_NETWORK) for number in range(100, 100 + MAX_BATCH)]
        return Adverts((signed(CARL), *forged[1:]), who(100).peer)

    async with swarm() as s:
        anna = await s.start(ANNA)
        eve, _ = await s.stranger(EVE)
        serve_rpc(eve, ADVERT_PROTOCOL, {GetAdvert: own, KnownAdverts: lie})
        anna.discovery.suggest(contact_of(EVE))
        await trio.sleep(300)
        assert anna.knows() == {EVE.peer, CARL.peer}
        counters = anna.discovery.counters()
        assert counters["adverts_forged"] == counters["batches_abandoned"] == len(asked) <= 4


async def test_a_peer_that_answers_nonsense_does_not_disturb_the_others(autojump_clock):
    async def nonsense(stream: Stream) -> None:
        await stream.send_all(b"\xff" * 100)

    async with swarm() as s:
        anna = await s.start(ANNA)
        eve, _ = await s.stranger(EVE)
        eve.handle(ADVERT_PROTOCOL, nonsense, StreamLimits())
        anna.discovery.suggest(contact_of(EVE))
        await s.start(BERT, ANNA)
        await trio.sleep(60)
        assert anna.knows() == {BERT.peer}


async def test_all_pages_are_read(autojump_clock):
    async with swarm() as s:
        anna = await s.start(ANNA)
        for number in range(200, 200 + 2 * MAX_BATCH):
            anna.book.accept(signed(who(number)), NOW)
        bert = await s.start(BERT, ANNA)
        assert await until(lambda: len(bert.knows()) == 2 * MAX_BATCH + 1) < 1.0


async def test_a_full_house_dials_nobody_but_the_bootstrap_contacts(autojump_clock):
    async with swarm() as s:
        await s.start(ANNA)
        for number in range(10, 15):
            await s.start(who(number), ANNA)
        few = DiscoverySettings(links=LinkSettings(max_links=0))
        bert = await s.start(BERT, ANNA, settings=few)
        await until(lambda: len(bert.knows()) == 6)
        bert.discovery.suggest(contact_of(EVE))
        await trio.sleep(20)
        assert bert.discovery.counters().get("dials_failed", 0) == 0


async def test_an_advert_left_from_an_earlier_life_is_overtaken(autojump_clock):
    async with swarm() as s:
        ahead = signed(BERT, sequence=1 << 60)
        anna = await s.start(ANNA)
        anna.book.accept(ahead, NOW)
        eve, _ = await s.stranger(EVE)

        async def own(peer: PeerId, request: GetAdvert) -> OwnAdvertIs:
            return OwnAdvertIs(b"")

        async def remember(peer: PeerId, request: KnownAdverts) -> Adverts:
            return Adverts((ahead,), "")

        serve_rpc(eve, ADVERT_PROTOCOL, {GetAdvert: own, KnownAdverts: remember})
        bert = await s.start(BERT, ANNA, EVE)

        def overtaken() -> bool:
            known = anna.book.get(BERT.peer)
            return known is not None and known.advert.sequence == (1 << 60) + 1

        assert await until(overtaken) < 5.0
        assert bert.own.current is not None


async def test_a_failing_hash_table_is_counted_and_adverts_still_spread(autojump_clock, caplog):
    async def refuse(*args: object) -> None:
        raise PeerLost("nobody answers")

    async def break_down(*args: object) -> None:
        raise RuntimeError("a fault in the library")

    async def hang(*args: object) -> None:
        await trio.sleep_forever()

    async with swarm() as s:
        for owner, first, fault in ((ANNA, (), refuse), (BERT, (ANNA,), break_down), (CARL, (ANNA,), hang)):
            node = await s.start(owner, *first)
            for operation in ("put", "get", "provide", "providers"):
                setattr(node.records, operation, fault)
        assert await until(all_know_all(s.nodes)) < 2.0
        await trio.sleep(60)
        assert all(node.discovery.counters()["directory_failures"] > 0 for node in s.nodes)
    assert "a fault in the library" in caplog.text


async def test_a_fault_in_serving_one_peer_is_logged_and_contained(autojump_clock, caplog, monkeypatch):
    async with swarm() as s:
        anna = await s.start(ANNA)

        async def break_down(peer: PeerId) -> None:
            raise RuntimeError("a fault")

        monkeypatch.setattr(anna.records, "add_peer", break_down)
        await s.start(BERT, ANNA)
        await until(all_know_all(s.nodes))
        monkeypatch.setattr(anna.transport, "open_stream", break_down)
        anna.own.changed()
        await trio.sleep(10)
        assert anna.discovery.counters()["link_errors"] >= 2
    assert "in serving" in caplog.text


async def test_known_adverts_come_in_pages(autojump_clock):
    async with swarm() as s:
        anna = await s.start(ANNA)
        known = {who(number).peer: signed(who(number)) for number in range(200, 200 + MAX_BATCH + 10)}
        for raw in known.values():
            anna.book.accept(raw, NOW)
        eve, _ = await s.stranger(EVE)
        await eve.dial(ANNA.peer, anna.transport.addresses())
        pages = []
        after = ""
        for _ in range(2):
            pages.append(await call(eve, ANNA.peer, ADVERT_PROTOCOL, KnownAdverts(after, MAX_BATCH), Adverts))
            after = pages[-1].last
        assert [len(page.adverts) for page in pages] == [MAX_BATCH, 10]
        assert after == ""
        assert {raw for page in pages for raw in page.adverts} == set(known.values())
