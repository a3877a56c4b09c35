"""Runs that pay their providers: whole nodes in one process, with a real ledger between them."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmd.identity import identity_of
from swarmd.ledger.jobsdb import JobStore, LaneRecord
from swarmd.network import Network
from swarmd.protocols.errors import StateError
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.ledger.genesis import Genesis, Grant, Limits, Member
from swarmd.protocols.ledger.receipts import SignedReceipt
from swarmd.protocols.work import amount_of, backward_operations, forward_operations
from swarmd.runs.estimate import estimate_job
from swarmd.runs.paying import Paymaster
from swarmd.runs.receipting import Signer, Window
from swarmd.runs.record import RunRecord
from swarmd.runs.view import state_words
from tests.runs.nodes import TestNode, open_swarm, until
from tests.train.specs import small_job

pytestmark = [pytest.mark.slow, pytest.mark.net]

CREDIT = 1_000_000
PRICE = 10**10
"""A credit for 10^8 operations: tests do little work."""


def credits_network(members: int = 1, granted: int = 1000) -> Network:
    """The first node has all credits; the first ``members`` nodes vote."""
    peers = [identity_of(bytes([number + 1]) * 32).peer for number in range(members)]
    return Network(
        Genesis(
            name="test",
            salt=b"pay",
            operator=peers[0],
            grants=(Grant(peers[0], granted * CREDIT),),
            committee=tuple(sorted((Member(peer, 1) for peer in peers), key=lambda member: member.peer)),
            limits=Limits(entry_seconds=0),
        )
    )


ASYNCHRONOUS = """[schedule]
mode = "flow-async"
async_after = 2
[checkpoint]
every = 9
"""


async def submit(
    node: TestNode, folder: Path, *, stages: int, steps: int = 6, budget: str = "", schedule: str = ""
) -> RunRecord:
    job = small_job(folder, steps=steps)
    text = budget or "max_credits = 100.0\npay_every = 2\n"
    before = job.read_text().replace("[checkpoint]\nevery = 2\n", schedule) if schedule else job.read_text()
    job.write_text(before + f"[run]\nmin_stages = {stages}\nrestarts = 0\n[budget]\n{text}")
    return await node.runs.submit(str(job))


def worth(record: RunRecord, peer: PeerId, steps: int) -> int:
    """What a stage earns in so many steps."""
    stage = next(stage for stage in record.plan.stages if stage.peer == peer)
    each = [work(record.spec, stage.first, stage.end) for work in (forward_operations, backward_operations)]
    return amount_of(sum(each) * record.spec.batch.micro_batches * steps, PRICE)


def balance(node: TestNode) -> int:
    return node.deps.wallet.standing().balance


@pytest.mark.parametrize(("schedule", "steps"), [("", 6), (ASYNCHRONOUS, 16)], ids=["flow-sync", "flow-async"])
async def test_three_stages_are_paid_to_the_unit_and_their_lanes_settled(
    tmp_path: Path, schedule: str, steps: int
) -> None:
    async with open_swarm(tmp_path, credits_network(members=3)) as swarm:
        payer = await swarm.add()
        providers = [await swarm.add(price=PRICE) for _ in range(2)]
        record = await submit(payer, tmp_path, stages=3, steps=steps, schedule=schedule)
        assert await payer.finished(record) == ("done", "", "")
        due = {node.peer: worth(record, node.peer, steps) for node in providers}
        await until(lambda: all(balance(node) == due[node.peer] for node in providers))
        await until(lambda: balance(payer) == 1000 * CREDIT - sum(due.values()))
        assert record.spending.spent == record.spending.estimate == sum(due.values())


async def lanes(node: TestNode, record: RunRecord, peer: PeerId) -> list[LaneRecord]:
    """The payer's lanes for a provider, oldest first."""
    return [lane for lane in await node.deps.jobs.lanes(run=record.run, role="payer") if lane.provider == peer]


async def test_a_stage_killed_midway_is_paid_and_the_run_goes_on_with_new_lanes(tmp_path: Path) -> None:
    async with open_swarm(tmp_path, credits_network()) as swarm:
        payer = await swarm.add()
        providers = [await swarm.add(price=PRICE) for _ in range(2)]
        record = await submit(payer, tmp_path, stages=3, steps=24)
        await until(lambda: record.step > 6)
        dead = providers[0]
        swarm.network.cut(dead.peer)
        assert (await payer.finished(record))[:2] == ("failed", "peer_lost")
        await dead.stop()
        (lane,) = await lanes(payer, record, dead.peer)
        assert lane.state == "open"
        assert worth(record, dead.peer, record.step) <= lane.total <= worth(record, dead.peer, record.step + 3)
        alive = providers[1]
        await until(lambda: balance(alive) >= worth(record, alive.peer, record.step - 1))

        swarm.network.mend(dead.peer)
        back = await swarm.add(price=PRICE, again=2)
        resumed = await payer.runs.resume(record.run[:8])
        assert await payer.finished(resumed) == ("done", "", "")
        earned = [sum(each.total for each in await lanes(payer, record, node.peer)) for node in (back, alive)]
        assert {len(await lanes(payer, record, node.peer)) for node in (back, alive)} == {2}
        await until(lambda: [balance(back), balance(alive)] == earned, 30)
        assert record.spending.spent == sum(earned) <= record.budget.max_credits


async def test_a_provider_that_is_not_paid_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def nothing(self: Paymaster) -> tuple[()]:
        return ()

    monkeypatch.setattr(Paymaster, "pay", nothing)
    async with open_swarm(tmp_path, credits_network()) as swarm:
        payer, provider = await swarm.add(), await swarm.add(price=PRICE)
        record = await submit(payer, tmp_path, stages=2, steps=2000, budget="max_credits = 900.0\npay_every = 2\n")
        state, _, reason = await payer.finished(record)
        assert state == "failed"
        assert "not paid: its steps to" in reason
        assert record.spending.spent == 0
        await until(lambda: not provider.deps.leases.held)


async def test_receipts_that_are_invented_earn_nothing_and_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_swarm(tmp_path, credits_network()) as swarm:
        payer = await swarm.add()
        liar, honest = [await swarm.add(price=PRICE) for _ in range(2)]
        plain = Signer.sign

        def invent(self: Signer, boundary: int, window: Window, first: int, end: int) -> SignedReceipt | None:
            if self.identity.peer == liar.peer and window.tree.count:
                window.tree.add(bytes(32))
            return plain(self, boundary, window, first, end)

        monkeypatch.setattr(Signer, "sign", invent)
        record = await submit(payer, tmp_path, stages=3)
        assert await payer.finished(record) == ("done", "", "")
        assert [lane.total for lane in await lanes(payer, record, liar.peer)] == [0]
        assert (await lanes(payer, record, honest.peer))[0].total <= worth(record, honest.peer, 6)
        told = [event.text for event in payer.deps.events.recent(100) if "are not paid" in event.text]
        assert told
        assert all(f"({short(liar.peer)})" in words for words in told)
        await until(lambda: payer.deps.wallet.standing().locked == 0)


@pytest.mark.parametrize(
    ("budget", "reason"),
    [
        ("max_credits = 0.0\n", "and the job has no budget ([budget] max_credits)"),
        (f"max_credits = 9.0\nmax_price = {PRICE - 1}\n", "and the job pays at most 9,999,999,999"),
        ("max_credits = 0.000001\n", "0.000001 are left of the budget; [budget] max_credits = "),
    ],
)
async def test_a_run_that_cannot_pay_what_is_asked_does_not_begin(tmp_path: Path, budget: str, reason: str) -> None:
    async with open_swarm(tmp_path, credits_network()) as swarm:
        payer, _ = await swarm.add(max_stages=0), await swarm.add(price=PRICE)
        record = await submit(payer, tmp_path, stages=1, budget=budget)
        state, code, words = await payer.finished(record)
        assert (state, code) == ("failed", "refused")
        assert reason in words
        assert payer.deps.wallet.standing().locked == 0


async def test_a_network_without_credits_has_only_free_peers(tmp_path: Path) -> None:
    async with open_swarm(tmp_path) as swarm:
        payer, _ = await swarm.add(max_stages=0), await swarm.add(price=PRICE)
        record = await submit(payer, tmp_path, stages=1)
        assert "this network has no credits" in (await payer.finished(record))[2]


async def test_a_peer_that_asks_is_not_made_to_work_for_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmd.runs.pay_desk.too_dear", lambda *_: "")
    monkeypatch.setattr("swarmd.runs.pay_desk.priced", lambda *_: ())
    async with open_swarm(tmp_path, credits_network()) as swarm:
        payer, _ = await swarm.add(max_stages=0), await swarm.add(price=PRICE)
        record = await submit(payer, tmp_path, stages=1)
        assert "and the run pays 0" in (await payer.finished(record))[2]


async def test_a_restarted_payer_knows_what_a_run_has_cost(tmp_path: Path) -> None:
    async with open_swarm(tmp_path, credits_network()) as swarm:
        payer, provider = await swarm.add(state="same"), await swarm.add(price=PRICE)
        record = await submit(payer, tmp_path, stages=2)
        assert await payer.finished(record) == ("done", "", "")
        await until(lambda: balance(provider) == record.spending.spent > 0)
        await payer.stop()
        again = await swarm.add(state="same", again=1)
        remembered = again.runs.find(record.run)
        assert remembered.budget == record.budget
        assert remembered.spending.spent == record.spending.spent


async def test_a_run_waits_for_its_lanes_and_says_so(tmp_path: Path) -> None:
    async with open_swarm(tmp_path, credits_network(members=3)) as swarm:
        payer, _ = await swarm.add(), await swarm.add(price=PRICE)  # two of three votes: not enough
        record = await submit(payer, tmp_path, stages=2)
        await until(lambda: state_words(record)[0] == "funding")
        assert "certified" in state_words(record)[2]
        payer.runs.stop(record.run, "enough")
        assert (await payer.finished(record))[0] == "stopped"
        assert record.spending.spent == 0


async def test_a_disk_that_fails_holds_up_vouchers_and_no_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_swarm(tmp_path, credits_network()) as swarm:
        payer, provider = await swarm.add(), await swarm.add(price=PRICE)
        plain, failures = JobStore.keep_voucher, [StateError("the disk is full")] * 2

        async def keep(self: JobStore, *args: object) -> bool:
            if self is payer.deps.jobs and failures:
                raise failures.pop()
            return await plain(self, *args)

        monkeypatch.setattr(JobStore, "keep_voucher", keep)
        record = await submit(payer, tmp_path, stages=2)
        assert await payer.finished(record) == ("done", "", "")
        assert any("a voucher waits" in event.text for event in payer.deps.events.recent(100))
        await until(lambda: balance(provider) == worth(record, provider.peer, 6))


async def test_an_estimate_says_no_where_the_job_must_fail(tmp_path: Path) -> None:
    async with open_swarm(tmp_path, credits_network()) as swarm:
        payer = await swarm.add()
        await swarm.add(price=PRICE)
        await until(lambda: len(payer.deps.adverts()) == 2)
        job = small_job(tmp_path)
        for stages, budget, affordable, words in (
            (2, "max_credits = 100.0", True, "with 2 stages"),
            (3, "max_credits = 100.0", False, "it cannot run: a pipeline of 3 or more stages cannot be made"),
            (2, "max_credits = 0.000001", False, "is enough"),
            (2, "max_credits = 0.0", False, "it cannot run: a pipeline of 2 or more stages cannot be made"),
        ):
            asked = tmp_path / "asked.toml"
            asked.write_text(job.read_text() + f"[run]\nmin_stages = {stages}\n[budget]\n{budget}\n")
            found = await estimate_job(payer.deps, str(asked))
            assert (found.affordable, words in found.words) == (affordable, True), found.words


async def test_an_estimate_does_not_count_on_a_peer_that_picks_its_submitters(tmp_path: Path) -> None:
    async with open_swarm(tmp_path, credits_network()) as swarm:
        payer = await swarm.add()
        picky = await swarm.add(price=PRICE, accept="list")
        await until(lambda: len(payer.deps.adverts()) == 2)
        asked = tmp_path / "asked.toml"
        job = small_job(tmp_path).read_text()
        asked.write_text(job + "[run]\nmin_stages = 2\n[budget]\nmax_credits = 100.0\n")
        found = await estimate_job(payer.deps, str(asked))
        assert (found.affordable, found.stages, found.fit) == (False, 2, (payer.peer,))
        assert "not sure to run" in found.words
        assert [short(picky.peer) in words for words in found.may_refuse] == [True]
