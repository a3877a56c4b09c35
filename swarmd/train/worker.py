"""The compute process: a stage between a socket pair and shared memory.

A reader thread copies frames out of their slots as they come and queues them; the main thread
alternates between taking in what is queued and the runner's next action. When the daemon's end of the
socket closes, whatever closed it, the process ends at once, even in the middle of an operator.
"""

from __future__ import annotations

import argparse
import os
import socket
import threading
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from swarmd.blobs import BlobStore
from swarmd.compute.channel import Channel
from swarmd.compute.layout import SlotLayout
from swarmd.compute.memory import SlotMemory
from swarmd.compute.messages import (
    FROM_WORKER,
    TO_WORKER,
    Arrived,
    Broken,
    Done,
    Halt,
    Halted,
    Load,
    Loaded,
    Start,
    Time,
    Timed,
)
from swarmd.gpu.devices import resolve
from swarmd.protocols.checkpoint import parse_checkpoint
from swarmd.protocols.errors import SwarmdError, TimedOut
from swarmd.protocols.spec import JobSpec, parse_spec
from swarmd.protocols.tensors import Direction, FrameHeader
from swarmd.train.compiled import prepare_compiler
from swarmd.train.data import TokenData
from swarmd.train.departures import Departures
from swarmd.train.faults import lag
from swarmd.train.framing import Framing
from swarmd.train.heap import keep_freed_memory
from swarmd.train.loading import flow_of
from swarmd.train.outbox import Notice
from swarmd.train.reading import Came, Reader, Reopened
from swarmd.train.room import planned, with_what_there_is
from swarmd.train.runner import StageRunner
from swarmd.train.sending import SEND_PATIENCE_SECONDS, Boundary, Sender
from swarmd.train.shortage import failure, is_shortage
from swarmd.train.stage import Stage, deterministic
from swarmd.train.staging import Direct, Staging
from swarmd.train.tally import Tally
from swarmd.train.timing import time_micro_batch


class _DaemonGone(Exception):
    """The other end of the socket pair has closed."""


class Worker:
    """One compute process's state: at most one stage at a time."""

    def __init__(self, channel: Channel, memory: SlotMemory, layout: SlotLayout, blobs: BlobStore, device: str) -> None:
        self.channel, self.memory, self.blobs, self.device = channel, memory, blobs, device
        self.sender = Sender(channel, memory, layout)
        self.reader = Reader(channel, memory, layout, self.sender)
        self.staging: Staging = Direct(torch.device("cpu"))
        self.departures = Departures(self.reader.inbox.put)
        self.tally = Tally()
        self.framing: Framing | None = None
        self.stage: Stage | None = None
        self.runner: StageRunner | None = None

    def run(self) -> None:
        """The main thread: until the daemon is gone."""
        with suppress(_DaemonGone, BrokenPipeError, ConnectionError), closing(self.departures):
            while True:
                self._one(self.reader.inbox.get())

    def _one(self, message: object) -> None:
        try:
            self._next(message)
        except SwarmdError as error:
            self.channel.send(Broken(error.code, error.message))
        except (RuntimeError, MemoryError) as error:  # torch's word for CUDA errors and lack of memory
            self.channel.send(self._broken(error))

    def _broken(self, error: RuntimeError | MemoryError) -> Broken:
        """A failed operation in words. What ran out of memory gives up its stage, and with it the memory."""
        if not is_shortage(error):
            return Broken("compute", f"{type(error).__name__}: {error}"[:500])
        self.runner = self.stage = None
        what, numbers = "timing", ""
        if self.framing is not None:
            load, spec = self.framing.load, self.framing.spec
            what = f"the stage of layers {load.first} to {load.end - 1}"
            numbers = planned(load, spec, resolve(self.device))
        told = failure(error, what=what, numbers=numbers)
        return Broken(told.code, told.message)

    def take(self, message: object) -> None:
        """Act on one message; ``Start`` trains until the end."""
        match message:
            case Time(raw, fault):
                layer, *ends = time_micro_batch(parse_spec(raw), self.device)
                self.channel.send(Timed(layer + int(lag(fault) * 1e9), *ends))
            case Load(version=None):
                self.build(message)
            case Load() if self.stage is not None and self.framing is not None:
                self.go_on(message, self.stage, self.framing)
            case Halt() if self.stage is not None:
                self.halt(self.stage)
            case Start() if self.runner is not None:
                self.train(self.runner)
            case Came(header, tensor, sender, at) if self._wanted(header) and self.runner:
                self.runner.arrived(header, tensor, sender, at)
            case Arrived(header, slot, sender) if self._wanted(header) and self.runner:
                values = self.memory.slot(slot, header.payload_bytes)
                self.runner.noticed(header, values, sender, lambda: self.reader.give_back(slot))
            case Came() if self.framing is not None:
                pass  # of a plan that has ended, or of a stage that ran out of memory
            case Arrived(slot=slot) if self.framing is not None:
                self.reader.give_back(slot)
            case Reopened(slot):
                self.sender.reopened(slot)
            case Exception():
                raise message  # of another thread
            case _:
                raise SwarmdError(f"{type(message).__name__} before a stage was loaded")

    def build(self, load: Load) -> None:
        """Build the stage from seeded weights or a checkpoint; the one before it makes room."""
        self.runner = self.stage = None
        spec = parse_spec(load.spec)
        deterministic(spec)
        load, thrift = with_what_there_is(load, spec, resolve(self.device))
        self.framing = Framing(load, spec)
        ends = load.first == 0 or load.end == spec.model.num_hidden_layers
        data = TokenData(spec, self.blobs.get) if ends else None
        start = None if load.checkpoint is None else parse_checkpoint(self.blobs.get(load.checkpoint))
        lane = load.around.column if spec.lanes > 1 else 0
        stage = Stage(
            spec, load.first, load.end, data,
            device=self.device, checkpoint=start, read=self.blobs.get, lane=lane, recompute=load.recompute,
        )  # fmt: skip
        self.stage = stage
        self._place(load, spec, stage)
        self.staging = self.reader.staging = stage.staging
        if self.staging.overlaps:
            self.departures.thread()
        self.channel.send(Loaded(stage.version, thrift))

    def go_on(self, load: Load, stage: Stage, framing: Framing) -> None:
        """Take a place in another plan with the stage at hand."""
        stage.go_back(stage.version if load.version is None else load.version)
        self.framing = Framing(load, framing.spec)
        self._place(load, framing.spec, stage)
        self.channel.send(Loaded(stage.version, ""))

    def halt(self, stage: Stage) -> None:
        """Leave the plan, and keep the stage."""
        if self.runner is not None:
            self.runner.close()
        self.runner = None
        self.report(Halted(stage.version, stage.oldest))

    def train(self, runner: StageRunner) -> None:
        """Take frames and turn until the last step is done, or another plan follows."""
        runner.begin(self)
        while not runner.done:
            while not self.reader.inbox.empty() and self.runner is runner:
                self._next(self.reader.inbox.get())
            if self.runner is runner and not runner.turn(self) and not runner.done:
                self._next(self.reader.inbox.get())
            if self.runner is not runner:
                return
        self.report(Done(runner.version))

    def tensor(self, to: int, direction: Direction, step: int, index: int, version: int, tensor: Tensor) -> None:
        """Have a boundary tensor sent (``Outlet``)."""
        assert self.framing is not None
        frame = Boundary(to, direction, step, index, version, self.staging.take(tensor))
        self.departures.put(partial(self.sender.boundary, self.framing, frame))

    def notice(self, notice: Notice) -> bool:
        """Have a frame sent to another replica, if there is a slot for it (``Outlet``)."""
        assert self.framing is not None
        return self.sender.notice(self.framing, notice)

    def report(self, message: object) -> None:
        """Tell the daemon, after what was sent before (``Outlet``)."""
        self.departures.put(partial(self.channel.send, message))

    def make_room(self) -> None:
        """Wait until few enough are not taken over (``Outlet``). Raises TimedOut."""
        if not self.reader.checkpoints.acquire(timeout=SEND_PATIENCE_SECONDS):
            raise TimedOut(f"no checkpoint was taken over for {SEND_PATIENCE_SECONDS:.0f} s")

    def _place(self, load: Load, spec: JobSpec, stage: Stage) -> None:
        stage.keep_past(load.keeps)
        flow = flow_of(load, spec, stage.version)
        self.runner = StageRunner(load, spec, stage, flow, self.blobs, self.tally)

    def _wanted(self, header: FrameHeader) -> bool:
        """Whether a frame is not of an older plan: some are still on their way when one ends."""
        return self.framing is not None and header.plan >= self.framing.load.plan

    def _next(self, message: object) -> None:
        if message is None:
            raise _DaemonGone
        self.take(message)


def main() -> None:
    """Run as ``python -m swarmd.train.worker``; started by the daemon only."""
    parser = argparse.ArgumentParser(prog="swarmd.train.worker")
    for name in ("--channel", "--memory", "--slot-bytes"):
        parser.add_argument(name, type=int, required=True)
    parser.add_argument("--blobs", type=Path, required=True)
    parser.add_argument("--device", required=True)
    args = parser.parse_args()
    os.nice(5)
    keep_freed_memory()
    prepare_compiler(args.blobs.parent / "compiled")
    layout = SlotLayout(args.slot_bytes)
    channel = Channel(socket.socket(fileno=args.channel), FROM_WORKER, TO_WORKER)
    worker = Worker(channel, SlotMemory(args.memory, layout), layout, BlobStore(args.blobs), args.device)
    threading.Thread(target=_read_then_exit, args=(worker,), name="reader", daemon=True).start()
    worker.run()


def _read_then_exit(worker: Worker) -> None:
    worker.reader.run()
    os._exit(0)  # the main thread may be deep inside an operator


if __name__ == "__main__":
    main()
