"""The compute process: a stage between a socket pair and shared memory.

A reader thread copies frames out of their slots as they come and queues them; the main thread
alternates between taking in what is queued and the runner's next action. When the daemon's end of the
socket closes, whatever closed it, the process ends at once, even in the middle of an operator.
"""

from __future__ import annotations

import argparse
import os
import queue
import socket
import threading
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from swarmd.blobs import BlobStore
from swarmd.compute.channel import Channel
from swarmd.compute.layout import SlotLayout
from swarmd.compute.memory import SlotMemory, SlotPool, SlotReturns
from swarmd.compute.messages import (
    FROM_WORKER,
    TO_WORKER,
    Arrived,
    Broken,
    Done,
    Kept,
    Load,
    Loaded,
    Outgoing,
    Sent,
    Start,
    Taken,
    Time,
    Timed,
)
from swarmd.gpu.devices import resolve
from swarmd.protocols.checkpoint import parse_checkpoint
from swarmd.protocols.errors import SwarmdError, TimedOut
from swarmd.protocols.spec import parse_spec
from swarmd.protocols.tensors import (
    Direction,
    FrameHeader,
)
from swarmd.train.codecs import wire_empty
from swarmd.train.data import TokenData
from swarmd.train.framing import Framing, bytes_of
from swarmd.train.heap import keep_freed_memory
from swarmd.train.loading import flow_of
from swarmd.train.outbox import Notice
from swarmd.train.room import planned, with_what_there_is
from swarmd.train.runner import StageRunner
from swarmd.train.shortage import failure, is_shortage
from swarmd.train.stage import Stage, deterministic
from swarmd.train.timing import time_micro_batch

SEND_PATIENCE_SECONDS = 120.0
CHECKPOINTS_AHEAD = 2
"""Written and not taken over yet: small stages make checkpoints faster than a disk deletes old ones."""


class _DaemonGone(Exception):
    """The other end of the socket pair has closed."""


@dataclass(frozen=True, slots=True)
class _Room:
    """A slot to other replicas is free again."""

    slot: int


class Worker:
    """One compute process's state: at most one stage at a time."""

    def __init__(self, channel: Channel, memory: SlotMemory, layout: SlotLayout, blobs: BlobStore, device: str) -> None:
        self.channel, self.memory, self.blobs, self.device = channel, memory, blobs, device
        self.inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        self.free = SlotPool(layout.outgoing)
        self.read_slots = [SlotReturns(lambda slots: channel.send(Taken(slots))) for _ in layout.pools]
        self.layout, self.to_replicas = layout, deque(layout.to_replicas)
        self.checkpoints = threading.Semaphore(CHECKPOINTS_AHEAD)
        self.framing: Framing | None = None
        self.runner: StageRunner | None = None

    def read(self) -> None:
        """The reader thread: until the daemon's end closes. Frames leave their slots here."""
        try:
            with suppress(BrokenPipeError, ConnectionError):
                while (message := self.channel.receive()) is not None:
                    self._sort(message)
        finally:  # whatever ended it: the main thread waits for nothing else
            self.inbox.put(None)

    def _sort(self, message: object) -> None:
        if isinstance(message, Sent):
            for slot in message.slots:
                self._sent(slot)
        elif isinstance(message, Kept):
            self.checkpoints.release()
        elif isinstance(message, Arrived) and message.header.key.direction < Direction.COUNTED:
            header = message.header
            try:
                tensor = wire_empty(header.codec, header.shape)
                bytes_of(tensor)[:] = self.memory.slot(message.slot, header.payload_bytes)
                self.inbox.put((header, tensor, message.sender, time.perf_counter()))
            except (RuntimeError, MemoryError) as error:  # for the main thread to tell
                self.inbox.put(error)
            self.give_back(message.slot)
        else:
            self.inbox.put(message)

    def _sent(self, slot: int) -> None:
        if slot in self.layout.to_replicas:
            self.inbox.put(_Room(slot))
        else:
            self.free.give(slot)

    def give_back(self, slot: int) -> None:
        """An incoming slot was read."""
        self.read_slots[self.layout.pool_of(slot)].give(slot)

    def run(self) -> None:
        """The main thread: until the daemon is gone."""
        with suppress(_DaemonGone, BrokenPipeError, ConnectionError):
            while True:
                self._one(self.inbox.get())

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
        self.runner = None
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
            case Time(spec=raw):
                self.channel.send(Timed(*time_micro_batch(parse_spec(raw), self.device)))
            case Load():
                self.build(message)
            case Start() if self.runner is not None:
                self.train(self.runner)
            case (FrameHeader() as header, Tensor() as tensor, int() as sender, float() as at) if self.runner:
                self.runner.arrived(header, tensor, sender, at)
            case Arrived(header, slot, sender) if self.runner:
                values = self.memory.slot(slot, header.payload_bytes)
                self.runner.noticed(header, values, sender, lambda: self.give_back(slot))
            case (FrameHeader(), *_) | Arrived() if self.framing is not None:
                pass  # its stage ran out of memory, and the daemon knows
            case _Room(slot):
                self.to_replicas.append(slot)
            case RuntimeError() | MemoryError():
                raise message
            case _:
                raise SwarmdError(f"{type(message).__name__} before a stage was loaded")

    def build(self, load: Load) -> None:
        """Build the stage from seeded weights or a checkpoint."""
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
        flow = flow_of(load, spec, stage.version)
        self.runner = StageRunner(load, spec, stage, flow, self.blobs)
        self.channel.send(Loaded(stage.version, thrift))

    def train(self, runner: StageRunner) -> None:
        """Take frames and turn until the last step is done."""
        while not runner.done:
            while not self.inbox.empty():
                self._next(self.inbox.get())
            if not runner.turn(self) and not runner.done:
                self._next(self.inbox.get())
        self.channel.send(Done(runner.version))

    def tensor(self, to: int, direction: Direction, step: int, index: int, version: int, tensor: Tensor) -> None:
        """Have a boundary tensor sent from a free slot (``Outlet``). Raises TimedOut."""
        assert self.framing is not None
        try:
            slot = self.free.take(SEND_PATIENCE_SECONDS)
        except queue.Empty:
            raise TimedOut(f"no frame could be sent for {SEND_PATIENCE_SECONDS:.0f} s") from None
        view = self.memory.slot(slot, tensor.nbytes)
        view[:] = bytes_of(tensor)
        self.channel.send(Outgoing(self.framing.boundary(direction, step, index, version, view), slot, to))

    def notice(self, notice: Notice) -> bool:
        """Have a frame sent to another replica, if there is a slot for it (``Outlet``)."""
        assert self.framing is not None
        if not self.to_replicas:
            return False
        slot = self.to_replicas.popleft()
        view = self.memory.slot(slot, len(notice.values))
        view[:] = notice.values
        self.channel.send(Outgoing(self.framing.among_replicas(notice, view), slot, notice.to))
        return True

    def report(self, message: object) -> None:
        """Tell the daemon (``Outlet``)."""
        self.channel.send(message)

    def make_room(self) -> None:
        """Wait until fewer than CHECKPOINTS_AHEAD are not taken over (``Outlet``). Raises TimedOut."""
        if not self.checkpoints.acquire(timeout=SEND_PATIENCE_SECONDS):
            raise TimedOut(f"no checkpoint was taken over for {SEND_PATIENCE_SECONDS:.0f} s")

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
    layout = SlotLayout(args.slot_bytes)
    channel = Channel(socket.socket(fileno=args.channel), FROM_WORKER, TO_WORKER)
    worker = Worker(channel, SlotMemory(args.memory, layout), layout, BlobStore(args.blobs), args.device)
    threading.Thread(target=_read_then_exit, args=(worker,), name="reader", daemon=True).start()
    worker.run()


def _read_then_exit(worker: Worker) -> None:
    worker.read()
    os._exit(0)  # the main thread may be deep inside an operator


if __name__ == "__main__":
    main()
