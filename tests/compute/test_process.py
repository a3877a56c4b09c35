"""A real compute process: it answers, it ends with us, and its end is noticed once."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import trio

from swarmd.blobs import BlobStore
from swarmd.compute.channel import Channel
from swarmd.compute.layout import layout_of
from swarmd.compute.memory import unnamed_file
from swarmd.compute.messages import (
    FROM_WORKER,
    TO_WORKER,
    Broken,
    Kept,
    Load,
    Loaded,
    Start,
    Stepped,
    Stored,
    Time,
    Timed,
)
from swarmd.compute.process import GONE, Compute, open_compute
from swarmd.protocols.ids import BlobHash, RunId
from swarmd.protocols.spec import JobSpec
from swarmd.scheduler.around import chain_around
from swarmd.train.reading import CHECKPOINTS_AHEAD
from tests.protocols.specs import SPEC
from tests.train.specs import small_spec

pytestmark = pytest.mark.slow
RUN = RunId("ab" * 32)


class Heard:
    """What a compute process says, brought from the reader's thread into trio."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()
        self._add, self._messages = trio.open_memory_channel[object](100)

    def __call__(self, message: object) -> None:
        self._token.run_sync_soon(self._add.send_nowait, message)

    async def next(self) -> object:
        with trio.fail_after(60):
            return await self._messages.receive()

    @property
    def waiting(self) -> int:
        return self._messages.statistics().current_buffer_used


@asynccontextmanager
async def running(spec: JobSpec, blobs: Path) -> AsyncIterator[tuple[Compute, Heard]]:
    heard = Heard()
    async with open_compute(layout_of(spec), blobs, 1, "cpu", heard) as compute:
        yield compute, heard


def load(spec: JobSpec, checkpoint: BlobHash | None = None) -> Load:
    return Load(spec.to_bytes(), RUN, 1, 1, 0, 1, 0, spec.model.num_hidden_layers, 1, chain_around(0, 1), checkpoint)


async def test_it_times_refuses_what_is_out_of_turn_and_goes_on(tmp_path: Path) -> None:
    spec = small_spec(tmp_path, BlobStore(tmp_path / "blobs"))
    async with running(spec, tmp_path / "blobs") as (compute, heard):
        compute.send(Start())
        assert await heard.next() == Broken("failed", "Start before a stage was loaded")
        compute.send(Time(b"no spec"))
        refusal = await heard.next()
        assert isinstance(refusal, Broken)
        assert refusal.code == "violation"
        compute.send(load(spec, BlobHash("0" * 64)))
        refusal = await heard.next()
        assert isinstance(refusal, Broken)
        assert refusal.code == "not_found"
        compute.send(Time(spec.to_bytes()))
        timed = await heard.next()
        assert isinstance(timed, Timed)
        assert min(timed.layer_ns, timed.embed_ns, timed.head_ns) > 0
        compute.send(load(spec))
        assert await heard.next() == Loaded(0)
        child = psutil.Process(compute.pid)
    assert not child.is_running()
    assert await heard.next() is GONE


async def test_a_lack_of_memory_is_told_not_fatal(tmp_path: Path) -> None:
    async with running(SPEC, tmp_path) as (compute, heard):
        huge = replace(SPEC, model=replace(SPEC.model, hidden_size=1 << 40))
        for _ in range(2):
            compute.send(Time(huge.to_bytes()))
            refusal = await heard.next()
            assert isinstance(refusal, Broken)
            assert refusal.code == "out_of_memory"


async def test_its_death_is_heard_once_and_talking_to_it_is_harmless(tmp_path: Path) -> None:
    async with running(SPEC, tmp_path) as (compute, heard):
        os.kill(compute.pid, signal.SIGKILL)
        assert await heard.next() is GONE
        compute.send(Start())
        compute.send(Start())
    await trio.testing.wait_all_tasks_blocked()
    assert heard.waiting == 0


async def test_a_third_checkpoint_waits_until_an_earlier_one_was_taken_over(tmp_path: Path) -> None:
    spec = small_spec(tmp_path, BlobStore(tmp_path / "blobs"), steps=8)
    async with running(spec, tmp_path / "blobs") as (compute, heard):
        compute.send(load(spec))
        compute.send(Start())
        stored: list[int] = []
        while len(stored) < CHECKPOINTS_AHEAD:
            stored += [message.step for message in [await heard.next()] if isinstance(message, Stored)]
        assert stored == [2, 4]
        while not (isinstance(message := await heard.next(), Stepped) and message.step == 6):
            assert not isinstance(message, Stored)
        compute.send(Kept(2))
        while not isinstance(message, Stored):
            message = await heard.next()
        assert message.step == 6


def test_it_ends_by_itself_when_the_daemon_is_gone(tmp_path: Path) -> None:
    layout = layout_of(SPEC)
    ours, theirs = socket.socketpair()
    memory = unnamed_file(layout.total_bytes)
    command = [
        sys.executable, "-P", "-m", "swarmd.train.worker", "--channel", str(theirs.fileno()), "--memory", str(memory),
        "--slot-bytes", str(layout.slot_bytes), "--blobs", str(tmp_path), "--device", "cpu",
    ]  # fmt: skip
    with subprocess.Popen(command, pass_fds=(theirs.fileno(), memory)) as process:
        theirs.close()
        os.close(memory)
        channel = Channel(ours, TO_WORKER, FROM_WORKER)
        channel.send(Start())
        assert isinstance(channel.receive(), Broken)
        channel.close()
        assert process.wait(30) == 0
