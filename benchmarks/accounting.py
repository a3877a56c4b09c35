"""What paying for training costs: ``python benchmarks/accounting.py [--steps N] [--stages N] [--json]``.

All that pay adds to a run, without the training: every stage notes its frames, hashes and signs receipts; the
coordinator checks them, signs vouchers and keeps them; providers check those and keep them; all through the
messages' wire form and with real files. That is CPU time of the whole process, beside the CPU time of the steps
themselves: the layers' forward and backward alone, as the probe times them in one thread, without optimizer, links and
hashes of tensors. So the share is an upper bound. The model is the demo's, the smallest that anybody trains.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import trio

from swarmd.identity import Identity, identity_of
from swarmd.ledger.jobsdb import JobStore, LaneRecord, serve_job_store
from swarmd.log import EventLog
from swarmd.network import MAIN
from swarmd.protocols.budget import Budget
from swarmd.protocols.ids import BlobHash, PeerId, RunId
from swarmd.protocols.ledger.account import Lane
from swarmd.protocols.messages import FROM_COORDINATOR, FROM_MEMBER, StepDone
from swarmd.protocols.pay_messages import Receipted, Terms
from swarmd.protocols.registry import Registry
from swarmd.protocols.spec import (
    BatchSpec,
    DataSpec,
    JobSpec,
    ModelSpec,
    NumericsSpec,
    OptimizerSpec,
    ScheduleSpec,
    TokenizerSpec,
    WireSpec,
)
from swarmd.protocols.statements import Plan, StageAssignment
from swarmd.protocols.tensors import FRAME_VERSION, Direction, FrameHeader, FrameKey
from swarmd.runs.funding import Funding, priced
from swarmd.runs.paying import Paymaster
from swarmd.runs.providing import Post, Provider
from swarmd.runs.receipting import Reach, Receipting, Signer
from swarmd.train.determinism import deterministic
from swarmd.train.timing import time_micro_batch

RUN, PRICE, CAP, EXPIRES = RunId("1" * 64), 10**8, 10**15, 1 << 35
SAID, TOLD = Registry(*FROM_MEMBER), Registry(*FROM_COORDINATOR)


def spec_of(steps: int, micro_batches: int) -> JobSpec:
    """The demo's model and micro-batch."""
    return JobSpec(
        name="accounting",
        seed=0,
        model=ModelSpec(
            vocab_size=256,
            hidden_size=128,
            intermediate_size=352,
            num_hidden_layers=8,
            num_attention_heads=4,
            num_key_value_heads=2,
            max_position_embeddings=128,
        ),
        tokenizer=TokenizerSpec(kind="bytes"),
        data=DataSpec(source="manifest", dtype="u16", train=(), held_out=(), text_hash=BlobHash("0" * 64)),
        optimizer=OptimizerSpec(),
        batch=BatchSpec(sequence_length=128, micro_batch_size=1, micro_batches=micro_batches),
        schedule=ScheduleSpec(steps=steps, eval_every=steps, eval_windows=0, checkpoint_every=steps),
        numerics=NumericsSpec(),
        wire=WireSpec(),
    )


def plan_of(spec: JobSpec, people: list[Identity]) -> Plan:
    """Equal shares of the layers."""
    layers, count = spec.model.num_hidden_layers, len(people)
    ends = [layers * number // count for number in range(count + 1)]
    stages = (StageAssignment(who.peer, ends[n], ends[n + 1], 4, ()) for n, who in enumerate(people))
    return Plan(RUN, 1, 1, tuple(stages), None)


class Clock:
    """CPU time of this thread, by what it went to, in nanoseconds."""

    def __init__(self) -> None:
        self.taken: Counter[str] = Counter()

    @contextmanager
    def time(self, name: str) -> Iterator[None]:
        """Note the time of the block."""
        began = time.thread_time_ns()
        yield
        self.taken[name] += time.thread_time_ns() - began


@dataclass(frozen=True, slots=True)
class Certified:
    """A ledger on which every lane is open."""

    provider: PeerId

    async def lane_standing(self, payer: PeerId, lane: int) -> Lane:
        """The lane, as the terms have it."""
        return Lane(lane, RUN, self.provider, CAP, EXPIRES)


class Members:
    """All stages of a run: what they note and sign, and the vouchers that they check."""

    def __init__(self, spec: JobSpec, plan: Plan, people: list[Identity], payer: PeerId, pay_every: int) -> None:
        self.spec, self.plan, self.people, self.payer, self.pay_every = spec, plan, people, payer, pay_every
        batch, schedule = spec.batch, spec.schedule
        reach = Reach(
            run=RUN, spec=spec.spec_id, term=1, micro_batches=batch.micro_batches, start=0,
            steps=schedule.steps, pay_every=pay_every,
        )  # fmt: skip
        self.receipting = [
            Receipting(Signer(reach, MAIN.id, who), (stage.first, stage.end), spec.model.num_hidden_layers)
            for who, stage in zip(people, plan.stages, strict=True)
        ]
        self.providers: list[Provider] = []

    async def begin(self, jobs: list[JobStore]) -> None:
        """Take the terms."""
        for number, (who, store) in enumerate(zip(self.people, jobs, strict=True)):
            deps = SimpleNamespace(
                network=MAIN, identity=who, jobs=store, events=EventLog(), wallet=Certified(who.peer)
            )
            terms = Terms(
                price=PRICE, pay_every=self.pay_every, lane=number + 1, cap=CAP, expires=EXPIRES,
                max_unpaid_steps=3 * self.pay_every,
            )  # fmt: skip
            post = Post(payer=self.payer, plan=self.plan, stage=number, spec=self.spec, start=0)
            self.providers.append(Provider(cast("Any", deps), post, terms))
            await self.providers[-1].begin()

    def frames(self, step: int) -> list[list[FrameHeader]]:
        """What crosses each inner boundary in a step."""
        return [
            [
                _frame(step, number, way, stage.end)
                for way in (Direction.FORWARD, Direction.BACKWARD)
                for number in range(self.spec.batch.micro_batches)
            ]
            for stage in self.plan.stages[:-1]
        ]


def _frame(step: int, number: int, way: Direction, boundary: int) -> FrameHeader:
    key = FrameKey(RUN, 1, step, number, boundary, int(way))
    root = bytes([step % 256, number % 256, way, boundary]) * 8
    return FrameHeader(FRAME_VERSION, key, 1, step - 1, "raw", "float32", (1, 128, 128), root)


def paymaster_of(members: Members, jobs: JobStore, payer: Identity) -> Paymaster:
    """The coordinator's side."""
    record = SimpleNamespace(
        run=RUN, term=1, spec=members.spec, plan=members.plan, start_step=0, spending=None,
        budget=Budget(max_credits=CAP, pay_every=members.pay_every),
    )  # fmt: skip
    deps = SimpleNamespace(network=MAIN, identity=payer, jobs=jobs, events=EventLog())
    parts = priced(members.plan, members.spec, {who.peer: PRICE for who in members.people})
    funded = tuple(_with_lane(part, number + 1) for number, part in enumerate(parts))
    funding = Funding(funded, EXPIRES, members.pay_every)
    return Paymaster(cast("Any", record), cast("Any", deps), funding, _nowhere)


def _with_lane(part: Any, lane: int) -> Any:  # noqa: ANN401 - a Part
    return type(part)(
        peer=part.peer, forward=part.forward, backward=part.backward, price=part.price, lane=lane, cap=CAP
    )


async def _nowhere(peer: PeerId, message: object) -> None:
    return


async def keep_accounts(members: Members, paymaster: Paymaster, steps: int, clock: Clock) -> None:
    """Everything about pay in so many steps."""
    by_peer = dict(zip((who.peer for who in members.people), members.providers, strict=True))
    for step in range(1, steps + 1):
        frames = members.frames(step)  # the headers exist anyway
        with clock.time("noting"):
            for left, each in enumerate(frames):
                for header in each:
                    members.receipting[left].note(header)
                    members.receipting[left + 1].note(header)
        for who, receipting in zip(members.people, members.receipting, strict=True):
            loss = repr(1.0 / step) if receipting is members.receipting[-1] else None
            with clock.time("hashing and signing"):
                signed = await receipting.stepped(step, loss)
                sent = [SAID.encode(Receipted(each)) for each in signed]
            with clock.time("checking receipts"):
                paymaster.stepped(who.peer, StepDone(step, loss, ()))
                for raw in sent:
                    paymaster.receipted(who.peer, SAID.decode(raw))
        if step % members.pay_every == 0 or step == steps:
            with clock.time("vouchers signed, checked and kept (this thread)"):
                for peer, note in await paymaster.pay():
                    await by_peer[peer].take(TOLD.decode(TOLD.encode(note)))


async def measure(args: argparse.Namespace) -> dict[str, Any]:
    """CPU time of pay and of training in a step of the whole run, in milliseconds."""
    spec = spec_of(args.steps, args.micro_batches)
    payer, *people = [identity_of(bytes([number + 1]) * 32) for number in range(args.stages + 1)]
    members = Members(spec, plan_of(spec, people), people, payer.peer, args.pay_every)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        async with trio.open_nursery() as nursery:
            serve = [partial(serve_job_store, Path(folder) / f"jobs-{n}.db") for n in range(args.stages + 1)]
            jobs = [await nursery.start(each) for each in serve]
            await members.begin(jobs[1:])
            for number, who in enumerate(people):
                await jobs[0].save_lane(_lane(payer.peer, who.peer, number + 1))
            paymaster = paymaster_of(members, jobs[0], payer)
            began = time.process_time_ns()
            await keep_accounts(members, paymaster, args.steps, clock)
            taken = time.process_time_ns() - began
            nursery.cancel_scope.cancel()
    paid = [provider.counted for provider in members.providers]
    return {**figures(spec, args, taken, clock), "paid": paid}


def _lane(payer: PeerId, provider: PeerId, number: int) -> LaneRecord:
    return LaneRecord(
        payer=payer, lane=number, run=RUN, provider=provider, role="payer", price=PRICE, cap=CAP, expires=EXPIRES,
        stage=f"stage {number - 1}", created=0.0, updated=0.0,
    )  # fmt: skip


def figures(spec: JobSpec, args: argparse.Namespace, taken: int, clock: Clock) -> dict[str, Any]:
    """What comes out, by name."""
    deterministic(spec)
    layer, embed, head = time_micro_batch(spec, "cpu")
    train = (layer * spec.model.num_hidden_layers + embed + head) * spec.batch.micro_batches
    each = {name: round(count / args.steps / 1e6, 4) for name, count in clock.taken.items()}
    rest = round((taken - sum(clock.taken.values())) / args.steps / 1e6, 4)
    return {
        "steps": args.steps,
        "stages": args.stages,
        "micro_batches": args.micro_batches,
        "pay_every": args.pay_every,
        "accounting_ms_per_step": round(taken / args.steps / 1e6, 4),
        "parts_ms_per_step": {**each, "in worker threads": rest},
        "training_ms_per_step": round(train / 1e6, 2),
        "share_of_step_cpu": round(taken / args.steps / train, 5),
    }


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--stages", type=int, default=3)
    parser.add_argument("--micro-batches", type=int, default=4)
    parser.add_argument("--pay-every", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    result = trio.run(measure, args)
    if args.json:
        print(json.dumps(result))
        return
    for name, value in result.items():
        print(f"{name:>24}  {value}")


if __name__ == "__main__":
    main()
